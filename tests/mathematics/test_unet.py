import json
import math

import pytest
import torch
import torch.nn.functional as F

from course_utils.unet import Downsample, ResBlock, SelfAttention, UNet, Upsample, shapes_through, timestep_embedding


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


# The embedding of time


@pytest.mark.parametrize("dim", [2, 6, 32])
def test_embedding_has_the_sines_first_and_then_the_cosines(dim):
    times = [0.0, 1.0, 2.5, 1000.0]
    embedding = timestep_embedding(torch.tensor(times, dtype=torch.float64), dim)
    for b, t in enumerate(times):
        for i in range(dim // 2):
            frequency = math.exp(-math.log(10000) * i / (dim / 2))
            assert abs(embedding[b, i].item() - math.sin(frequency * t)) < 1e-12
            assert abs(embedding[b, dim // 2 + i].item() - math.cos(frequency * t)) < 1e-12


def test_later_times_turn_the_embedding_by_the_same_angles():
    # sin(a + b) and cos(a + b), frequency by frequency, from those of a and b
    a, b = torch.tensor([3.0], dtype=torch.float64), torch.tensor([500.0], dtype=torch.float64)
    (sin_a, cos_a), (sin_b, cos_b) = (timestep_embedding(t, 32)[0].chunk(2) for t in (a, b))
    turned = torch.cat([sin_a * cos_b + cos_a * sin_b, cos_a * cos_b - sin_a * sin_b])
    assert (timestep_embedding(a + b, 32)[0] - turned).abs().max() < 1e-12


def test_embeddings_of_all_1000_timesteps_are_distinct():
    embedding = timestep_embedding(torch.arange(1, 1001), 32).double()
    distance = torch.cdist(embedding, embedding).fill_diagonal_(math.inf)
    assert distance.min() > 1.17  # the smallest is 1.1716, between neighbours; no two can be farther apart than 8


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (torch.int32, torch.float32),
        (torch.int64, torch.float32),
        (torch.float16, torch.float16),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_embedding_has_the_dtype_of_a_floating_t_and_is_float32_for_integers(dtype, expected):
    embedding = timestep_embedding(torch.tensor([1, 2, 3]).to(dtype), 8)
    assert embedding.dtype == expected
    assert embedding.shape == (3, 8)


def test_whole_times_have_the_same_embedding_as_floats_and_as_integers():
    t = torch.arange(1, 1001)
    assert torch.equal(timestep_embedding(t, 32), timestep_embedding(t.float(), 32))


# The residual block


@pytest.fixture
def images():
    return torch.randn(3, 8, 4, 6)


@pytest.fixture
def embedding():
    return torch.randn(3, 5)


def test_new_res_block_passes_its_input_on(images, embedding):
    assert torch.equal(ResBlock(8, 8, 5)(images, embedding), images)


def test_new_res_block_that_changes_the_width_is_its_1x1_convolution(images, embedding):
    block = ResBlock(8, 16, 5)
    expected = torch.einsum("oi,bihw->bohw", block.skip.weight[:, :, 0, 0], images) + block.skip.bias[:, None, None]
    out = block(images, embedding)
    assert out.shape == (3, 16, 4, 6)
    assert (out - expected).abs().max() < 1e-5


def test_res_block_responds_to_the_embedding_once_its_last_convolution_is_not_zero(images, embedding):
    block = ResBlock(8, 8, 5)
    torch.nn.init.normal_(block.conv2.weight)
    change = (block(images, embedding) - block(images, embedding + 1)).abs().amax(dim=(1, 2, 3))
    assert (change > 0.01).all()


def test_res_block_scales_by_1_plus_what_the_embedding_says(images, embedding):
    # A scale of -1 and a shift of 0 leave nothing of the image for the last convolution.
    block = ResBlock(8, 8, 5)
    torch.nn.init.normal_(block.conv2.weight)
    torch.nn.init.zeros_(block.time.weight)
    block.time.bias.data = torch.cat([-torch.ones(8), torch.zeros(8)])
    assert (block(images, embedding) - images).abs().max() < 1e-6


def test_res_block_shifts_by_what_the_embedding_says(images, embedding):
    # With a scale of -1 and a shift of 2, the last convolution sees silu(2) in every pixel.
    block = ResBlock(8, 8, 5)
    torch.nn.init.normal_(block.conv2.weight)
    torch.nn.init.zeros_(block.time.weight)
    block.time.bias.data = torch.cat([-torch.ones(8), 2 * torch.ones(8)])
    silu_of_2 = 2 / (1 + math.exp(-2))
    added = (block(images, embedding) - images)[:, :, 1:-1, 1:-1]  # away from the border, where zeros are padded
    assert (added - silu_of_2 * block.conv2.weight.sum(dim=(1, 2, 3))[:, None, None]).abs().max() < 1e-4


# Attention


def random_attention(channels=16, heads=4):
    attention = SelfAttention(channels, heads).double()
    for weight in attention.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return attention


def test_new_attention_passes_its_input_on(images):
    assert torch.equal(SelfAttention(8)(images), images)


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_attention_is_torchs_own_with_the_same_weights(heads):
    attention, x = random_attention(16, heads), torch.randn(2, 16, 3, 5, dtype=torch.float64)
    rows = attention.norm(x).flatten(2).mT  # (B, positions, C)
    q, k, v = (
        F.linear(rows, weight, bias).unflatten(2, (heads, 16 // heads)).transpose(1, 2)
        for weight, bias in zip(attention.qkv.weight[:, :, 0, 0].chunk(3), attention.qkv.bias.chunk(3), strict=True)
    )
    found = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    out = F.linear(found, attention.out.weight[:, :, 0, 0], attention.out.bias).mT.unflatten(2, (3, 5))
    assert (attention(x) - (x + out)).abs().max() < 1e-12


def test_attention_carries_a_pixel_to_every_position():
    attention, x = random_attention(), torch.randn(1, 16, 3, 5, dtype=torch.float64)
    attention.norm = torch.nn.Identity()  # the normalisation mixes positions too
    changed = x.clone()
    changed[:, :, 0, 0] += 1
    assert ((attention(changed) - attention(x)).abs().amax(dim=(0, 1)) > 1e-3).all()


def test_attention_does_not_know_where_a_pixel_is():
    attention, x = random_attention(), torch.randn(2, 16, 3, 5, dtype=torch.float64)
    order = torch.randperm(15)

    def permuted(x):
        return x.flatten(2)[:, :, order].unflatten(2, (3, 5))

    assert (attention(permuted(x)) - permuted(attention(x))).abs().max() < 1e-12


# Down and up


def test_downsample_halves_and_upsample_doubles_height_and_width(images):
    assert Downsample(8)(images).shape == (3, 8, 2, 3)
    assert Upsample(8)(images).shape == (3, 8, 8, 12)


# The whole network

CONFIGS = {
    "default": (dict(), (2, 1, 28, 28)),
    "colour, 3 resolutions": (dict(in_channels=3, base_channels=8, multipliers=(1, 2, 3), patch=1), (2, 3, 8, 12)),
    "1 resolution, patch 4": (dict(in_channels=2, base_channels=8, multipliers=(1,), patch=4), (3, 2, 8, 4)),
    "narrower below, classes": (dict(base_channels=16, multipliers=[2, 1], condition=5), (1, 1, 4, 8)),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("config", "shape"), CONFIGS.values(), ids=CONFIGS.keys())
def test_output_has_the_shape_and_dtype_of_the_images(config, shape, dtype):
    out = UNet(**config).to(dtype)(torch.randn(shape, dtype=dtype), torch.ones(shape[0]))
    assert out.shape == shape
    assert out.dtype == dtype


@pytest.mark.parametrize(("config", "shape"), CONFIGS.values(), ids=CONFIGS.keys())
def test_new_network_predicts_no_noise(config, shape):
    assert (UNet(**config)(torch.randn(shape), torch.ones(shape[0])) == 0).all()


def test_default_network_has_706_565_weights():
    assert sum(weight.numel() for weight in UNet().parameters()) == 706_565


def test_shortcut_adds_the_share_of_the_images_that_time_and_label_set():
    model, x = UNet(base_channels=8, condition=3), torch.randn(4, 1, 8, 8)  # new, so all else predicts 0
    t, labels = torch.tensor([1, 1, 900, 900]), torch.tensor([0, 1, 0, 1])
    torch.nn.init.normal_(model.shortcut.weight)
    share = F.linear(F.silu(model.embed(x, t, labels)), model.shortcut.weight, model.shortcut.bias)
    assert len(share.unique()) == 4
    assert (model(x, t, labels) - share[:, :, None, None] * x).abs().max() <= 1e-7


@pytest.mark.parametrize(("config", "shape"), CONFIGS.values(), ids=CONFIGS.keys())
def test_config_rebuilds_the_same_network_also_after_json(config, shape):
    model = UNet(**config)
    again = UNet(**json.loads(json.dumps(model.config)))
    again.load_state_dict(model.state_dict())  # strict: the same names and shapes
    torch.nn.init.normal_(model.conv_out[0].weight)
    again.conv_out[0].weight.data = model.conv_out[0].weight.data.clone()
    x, t = torch.randn(shape), torch.ones(shape[0])
    assert torch.equal(again(x, t), model(x, t))
    assert again.config == model.config


@pytest.mark.parametrize(("patch", "multipliers", "side"), [(1, (1,), 1), (1, (1, 1), 2), (2, (1, 1, 1), 8)])
def test_side_is_that_of_the_smallest_image(patch, multipliers, side):
    model = UNet(base_channels=16, multipliers=multipliers, patch=patch)
    assert model.side == side
    assert model(torch.zeros(1, 1, side, side), torch.ones(1)).shape == (1, 1, side, side)


def test_every_weight_has_a_say(make_unet):
    # With 8 channels each would be a group of its own, and the normalisation would take the biases before it away.
    model = make_unet(base_channels=16, multipliers=(1, 2, 2), condition=2)
    model(torch.randn(3, 1, 16, 16), torch.tensor([1, 2, 3]), torch.tensor([0, 1, 2])).square().sum().backward()
    assert [name for name, weight in model.named_parameters() if not weight.grad.abs().max() > 1e-3] == []


def test_way_up_is_given_all_that_the_way_down_left_behind(make_unet):
    model, left, given = make_unet(multipliers=(1, 2, 3)), [], []
    for part in (model.conv_in, *model.down):
        part.register_forward_hook(lambda part, inputs, output: left.append(output))
    for part in model.up:
        if isinstance(part, ResBlock):
            part.register_forward_pre_hook(lambda part, inputs: given.append(inputs[0]))
    model(torch.randn(2, 1, 16, 16), torch.tensor([1, 2]))
    for x, skip in zip(given, reversed(left), strict=True):
        assert torch.equal(x[:, -skip.shape[1] :], skip)


@pytest.fixture
def batch():
    """Three images with their times and labels, in float64."""
    return torch.randn(3, 1, 8, 8, dtype=torch.float64), torch.tensor([1, 40, 1000]), torch.tensor([0, 2, 1])


def test_each_image_gets_what_it_would_get_alone(make_unet, batch):
    model = make_unet(condition=3).double()
    together = model(*batch)
    for i in range(3):
        alone = model(*(part[i : i + 1] for part in batch))
        assert (together[i] - alone[0]).abs().max() < 1e-10


def test_changing_one_image_its_time_and_label_leaves_the_others_alone(make_unet, batch):
    model = make_unet(condition=3).double()
    x, t, labels = (part.clone() for part in batch)
    x[1], t[1], labels[1] = 1, 500, 0
    change = (model(x, t, labels) - model(*batch)).abs().amax(dim=(1, 2, 3))
    assert change[[0, 2]].max() < 1e-12
    assert change[1] > 0.01


def test_time_counts_for_each_image(make_unet, batch):
    model, x = make_unet().double(), batch[0][:1].repeat(3, 1, 1, 1)
    out = model(x, torch.tensor([1, 2, 1000]))
    assert ((out - out.roll(1, dims=0)).abs().amax(dim=(1, 2, 3)) > 0.01).all()
    assert (model(x, torch.tensor([2, 1000, 1])) - out.roll(-1, dims=0)).abs().max() < 1e-12


def test_label_counts_for_each_image(make_unet, batch):
    model, x = make_unet(condition=2).double(), batch[0][:1].repeat(3, 1, 1, 1)
    t = torch.tensor([7, 7, 7])
    out = model(x, t, torch.tensor([0, 1, 2]))
    assert ((out - out.roll(1, dims=0)).abs().amax(dim=(1, 2, 3)) > 0.01).all()
    assert (model(x, t, torch.tensor([1, 2, 0])) - out.roll(-1, dims=0)).abs().max() < 1e-12


def test_no_labels_mean_the_extra_label(make_unet, batch):
    model, (x, t, _) = make_unet(condition=3).double(), batch
    assert torch.equal(model(x, t), model(x, t, torch.tensor([3, 3, 3])))


def test_times_and_labels_in_int32_mean_the_same(make_unet, batch):
    model, (x, t, labels) = make_unet(condition=3).double(), batch
    assert torch.equal(model(x, t.int(), labels.int()), model(x, t, labels))


def loss_after_training(model, x_t, t, noise, steps=150):
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(steps):
        loss = (model(x_t, t) - noise).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


# Times and noise of a small batch; a network that gets them right by heart has learnt to see what it is given.
TIMES = torch.tensor([1, 2, 3, 4, 100, 300, 500, 1000])
NOISE = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.slow
def test_network_overfits_a_batch():
    assert loss_after_training(UNet(base_channels=16), torch.randn(8, 1, 8, 8), TIMES, NOISE) < 0.01


@pytest.mark.slow
def test_network_learns_to_tell_times_apart():
    # One image, eight times over: only the time says which noise to answer with.
    x_t = torch.randn(1, 1, 8, 8).repeat(8, 1, 1, 1)
    assert loss_after_training(UNet(base_channels=16), x_t, TIMES, NOISE) < 0.01


# The table of shapes


def test_table_of_shapes_goes_from_conv_in_to_conv_out():
    rows = shapes_through(UNet(base_channels=8), torch.zeros(2, 1, 8, 12), torch.ones(2))
    assert rows == [
        ("conv_in", "Sequential", (8, 4, 6)),
        ("down.0", "ResBlock", (8, 4, 6)),
        ("down.1", "Downsample", (8, 2, 3)),
        ("down.2", "ResBlock", (16, 2, 3)),
        ("middle.0", "ResBlock", (16, 2, 3)),
        ("middle.1", "SelfAttention", (16, 2, 3)),
        ("middle.2", "ResBlock", (16, 2, 3)),
        ("up.0", "ResBlock", (16, 2, 3)),
        ("up.1", "ResBlock", (16, 2, 3)),
        ("up.2", "Upsample", (16, 4, 6)),
        ("up.3", "ResBlock", (8, 4, 6)),
        ("up.4", "ResBlock", (8, 4, 6)),
        ("conv_out", "Sequential", (1, 8, 12)),
    ]


def test_table_of_shapes_leaves_the_network_as_it_was():
    model = UNet(base_channels=8)
    shapes_through(model, torch.zeros(1, 1, 8, 8), torch.ones(1))
    assert not any(module._forward_hooks for module in model.modules())


def test_table_of_shapes_leaves_the_network_as_it_was_after_an_error_too():
    model = UNet(base_channels=8)
    with pytest.raises(RuntimeError, match="invalid for input of size"):
        shapes_through(model, torch.zeros(1, 1, 7, 7), torch.ones(1))
    assert not any(module._forward_hooks for module in model.modules())
