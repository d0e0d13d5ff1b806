import json
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from course_utils import transformer
from course_utils.checkpoints import load_dit
from course_utils.sampling import ddim_step, denoiser, sample
from course_utils.schedule import cosine_schedule
from course_utils.training import EMA, train
from course_utils.transformer import (
    DiT,
    DiTBlock,
    TokenAttention,
    attention_maps,
    modulate,
    patchify,
    positions_2d,
    unpatchify,
)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def randomised(module):
    """In float64, with no zero at the start that would hide anything."""
    for weight in module.parameters():
        nn.init.normal_(weight, std=0.2)
    return module.double()


def make_dit(**config):
    return randomised(DiT(**(dict(width=16, depth=2, heads=2, patch=2) | config)))


# Patches


def test_patchify_cuts_a_picture_row_by_row():
    tokens = patchify(torch.arange(24).reshape(1, 1, 4, 6), 2)
    assert tokens[0].tolist() == [
        *([0, 1, 6, 7], [2, 3, 8, 9], [4, 5, 10, 11]),
        *([12, 13, 18, 19], [14, 15, 20, 21], [16, 17, 22, 23]),
    ]


@pytest.mark.parametrize("patch", [1, 2, 3])
def test_patchify_is_torchs_unfold_and_unpatchify_its_fold(patch):
    x = torch.randn(2, 3, 6, 12)
    tokens = patchify(x, patch)
    assert torch.equal(tokens, F.unfold(x, patch, stride=patch).mT)
    tokens = torch.randn_like(tokens)
    assert torch.equal(unpatchify(tokens, patch, 6 // patch), F.fold(tokens.mT, (6, 12), patch, stride=patch))


def test_unpatchify_undoes_patchify():
    for shape in ((2, 3, 8, 8), (1, 1, 4, 12), (3, 2, 12, 4)):
        x = torch.randn(shape)
        assert torch.equal(unpatchify(patchify(x, 4), 4, shape[2] // 4), x)


# Positions


def test_positions_are_those_of_diffusers():
    from diffusers.models.embeddings import get_2d_sincos_pos_embed

    theirs = get_2d_sincos_pos_embed(24, 5, base_size=5, output_type="pt")
    assert (positions_2d(5, 5, 24) - theirs).abs().max() < 1e-12


def test_first_half_says_the_column_and_second_half_the_row():
    rows, columns, quarter = 3, 5, 4
    positions = positions_2d(rows, columns, 4 * quarter).reshape(rows, columns, 4, quarter)
    for row in range(rows):
        for column in range(columns):
            for i in range(quarter):
                frequency = 10000 ** (-i / quarter)
                angles = (column * frequency, row * frequency)
                expected = [wave(angle) for angle in angles for wave in (math.sin, math.cos)]
                assert (positions[row, column, :, i] - torch.tensor(expected)).abs().max() < 1e-6


def test_how_well_two_positions_fit_depends_only_on_how_far_they_lie_apart():
    # sin a sin b + cos a cos b = cos(a - b), for each frequency, in both directions
    rows, columns, quarter = 4, 6, 3
    positions = positions_2d(rows, columns, 4 * quarter)
    frequency = 10000 ** (-torch.arange(quarter).double() / quarter)
    places = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).double()
    apart = places[:, None] - places
    expected = (apart[..., None] * frequency).cos().sum(dim=(2, 3))
    assert (positions @ positions.T - expected).abs().max() < 1e-12


# A block


def test_modulate_scales_and_shifts_all_tokens_of_a_picture_alike():
    tokens = torch.randn(3, 3, 3, dtype=torch.float64)  # as many pictures as tokens: nothing must be mixed up
    shift, scale = torch.randn(2, 3, 3, dtype=torch.float64)
    out = modulate(tokens, shift, scale)
    for b in range(3):
        for n in range(3):
            assert (out[b, n] - (tokens[b, n] + scale[b] * tokens[b, n] + shift[b])).abs().max() < 1e-12


def torchs_attention(attention):
    """torch's own, with the same weights."""
    width = attention.out.in_features
    theirs = nn.MultiheadAttention(width, attention.heads, batch_first=True).double()
    names = {"in_proj_weight": "qkv.weight", "in_proj_bias": "qkv.bias"}
    names |= {f"out_proj.{part}": f"out.{part}" for part in ("weight", "bias")}
    theirs.load_state_dict({name: attention.state_dict()[its] for name, its in names.items()})
    return theirs


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_attention_is_torchs_own_with_the_same_weights(heads):
    attention, tokens = randomised(TokenAttention(8, heads)), torch.randn(2, 5, 8, dtype=torch.float64)
    theirs = torchs_attention(attention)(tokens, tokens, tokens, need_weights=False)[0]
    assert (attention(tokens) - theirs).abs().max() < 1e-12


def test_new_block_passes_its_input_on():
    tokens = torch.randn(2, 5, 8)
    assert torch.equal(DiTBlock(8, 2)(tokens, torch.randn(2, 8)), tokens)


class Told(nn.Module):
    """In place of diffusers' embedding of time and label: one that is given."""

    def __init__(self, embedding):
        super().__init__()
        self.embedding = embedding

    def forward(self, *args, **options):
        return self.embedding


def copy_block(ours, theirs, embedding):
    """The weights of our block into diffusers' own; it is told the embedding, whatever the time and the label."""
    theirs.norm1.emb = Told(embedding)
    theirs.norm1.linear.load_state_dict(ours.modulation.state_dict())
    weights, biases = (part.chunk(3) for part in (ours.attention.qkv.weight, ours.attention.qkv.bias))
    for name, weight, bias in zip(("to_q", "to_k", "to_v"), weights, biases, strict=True):
        getattr(theirs.attn1, name).load_state_dict(dict(weight=weight, bias=bias))
    theirs.attn1.to_out[0].load_state_dict(ours.attention.out.state_dict())
    theirs.ff.net[0].proj.load_state_dict(ours.mlp[0].state_dict())
    theirs.ff.net[2].load_state_dict(ours.mlp[2].state_dict())


def diffusers_dit(ours, embedding, side):
    """diffusers' DiT with our weights, told our embedding; only positions are its own, in float32."""
    from diffusers import DiTTransformer2DModel

    config = ours.config
    theirs = DiTTransformer2DModel(
        num_attention_heads=config["heads"],
        attention_head_dim=config["width"] // config["heads"],
        in_channels=config["in_channels"],
        num_layers=config["depth"],
        sample_size=side,
        patch_size=config["patch"],
        num_embeds_ada_norm=1,
        norm_eps=1e-6,
    ).double()
    for our_block, their_block in zip(ours.blocks, theirs.transformer_blocks, strict=True):
        copy_block(our_block, their_block, embedding)
    pixels = (config["in_channels"], config["patch"], config["patch"])
    theirs.pos_embed.proj.load_state_dict(
        dict(weight=ours.patches_in.weight.unflatten(1, pixels), bias=ours.patches_in.bias)
    )
    theirs.proj_out_1.load_state_dict(ours.modulation.state_dict())
    channels_last = {  # they have a pixel's channels side by side
        name: weight.unflatten(0, pixels).movedim(0, 2).flatten(0, 2)
        for name, weight in ours.patches_out.state_dict().items()
    }
    theirs.proj_out_2.load_state_dict(channels_last)
    return theirs.eval()


def test_block_is_diffusers_own_with_the_same_weights():
    ours, embedding = make_dit(), torch.randn(3, 16, dtype=torch.float64)
    theirs = diffusers_dit(ours, embedding, side=8).transformer_blocks[0]
    tokens, unused = torch.randn(3, 7, 16, dtype=torch.float64), torch.zeros(3, dtype=torch.long)
    expected = theirs(tokens, timestep=unused, class_labels=unused)
    assert (expected - tokens).abs().max() > 0.1
    assert (ours.blocks[0](tokens, embedding) - expected).abs().max() < 1e-12


# The whole network


@pytest.mark.parametrize(("patch", "in_channels"), [(2, 3), (4, 1)])
def test_network_is_diffusers_own_with_the_same_weights(patch, in_channels, monkeypatch):
    ours = make_dit(patch=patch, in_channels=in_channels, condition=5)
    x, t, labels = torch.randn(3, in_channels, 8, 8).double(), torch.tensor([1, 40, 1000]), torch.tensor([0, 4, 2])
    theirs = diffusers_dit(ours, ours.embed(x, t, labels), side=8)
    expected = theirs(x, timestep=t, class_labels=labels).sample
    assert expected.abs().max() > 0.1
    assert (ours(x, t, labels) - expected).abs().max() < 1e-5  # their table of positions is in float32
    monkeypatch.setattr(transformer, "positions_2d", lambda *_: theirs.pos_embed.pos_embed)
    assert (ours(x, t, labels) - expected).abs().max() < 1e-12


def test_network_is_told_time_and_label_by_the_sum_of_their_embeddings():
    model, x, t = make_dit(condition=3), torch.zeros(2, 1, 4, 4).double(), torch.tensor([3, 700]).double()
    angle = t[:, None] * 10000 ** (-torch.arange(8).double() / 8)
    hidden = F.silu(F.linear(torch.cat([angle.sin(), angle.cos()], dim=1), model.time[0].weight, model.time[0].bias))
    time = F.linear(hidden, model.time[2].weight, model.time[2].bias)
    expected = time + model.condition.weight[[2, 0]]
    assert (model.embed(x, t, torch.tensor([2, 0])) - expected).abs().max() < 1e-12


CONFIGS = {
    "default": (dict(), (2, 1, 28, 28)),
    "colour, a wide picture": (dict(in_channels=3, width=12, depth=1, heads=3, patch=2), (2, 3, 4, 10)),
    "each pixel a token, classes": (dict(in_channels=2, width=8, depth=2, heads=1, patch=1, condition=5), (3, 2, 5, 3)),
    "a single patch": (dict(width=8, depth=1, heads=2, patch=8), (1, 1, 8, 8)),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("config", "shape"), CONFIGS.values(), ids=CONFIGS.keys())
def test_new_network_predicts_no_noise_in_the_shape_and_dtype_of_the_images(config, shape, dtype):
    out = DiT(**config).to(dtype)(torch.randn(shape, dtype=dtype), torch.ones(shape[0]))
    assert (out.shape, out.dtype) == (shape, dtype)
    assert (out == 0).all()


@pytest.mark.parametrize(("config", "shape"), CONFIGS.values(), ids=CONFIGS.keys())
def test_config_rebuilds_the_same_network_also_after_json(config, shape):
    model = randomised(DiT(**config))
    again = DiT(**json.loads(json.dumps(model.config))).double()
    again.load_state_dict(model.state_dict())  # strict: the same names and shapes
    x, t = torch.randn(shape).double(), torch.ones(shape[0])
    assert torch.equal(again(x, t), model(x, t))
    assert again.config == model.config


def test_default_network_has_1_851_280_weights():
    assert sum(weight.numel() for weight in DiT().parameters()) == 1_851_280


def permuted(x, order, patch=2):
    """The picture with its patches in another order."""
    return unpatchify(patchify(x, patch)[:, order], patch, x.shape[2] // patch)


def test_without_positions_permuting_the_patches_permutes_what_comes_out(monkeypatch):
    model, x, t = make_dit(in_channels=3), torch.randn(2, 3, 6, 8).double(), torch.tensor([5, 600])
    order = torch.randperm(12)
    with_positions = model(permuted(x, order), t) - permuted(model(x, t), order)
    assert with_positions.abs().max() > 0.01
    monkeypatch.setattr(transformer, "positions_2d", lambda rows, columns, dim: torch.zeros(rows * columns, dim))
    assert (model(permuted(x, order), t) - permuted(model(x, t), order)).abs().max() < 1e-12
    assert (model(permuted(x, order), t) - model(x, t)).abs().max() > 0.01


def test_every_weight_has_a_say():
    model = make_dit(condition=2)
    model(torch.randn(3, 1, 8, 8).double(), torch.tensor([1, 2, 3]), torch.tensor([0, 1, 2])).square().sum().backward()
    silent = [name for name, weight in model.named_parameters() if not weight.grad.abs().max() > 1e-3]
    assert silent == []
    # Keys moved all alike change no weight of the softmax, so the middle third of the biases is idle.
    for block in model.blocks:
        query, key, value = block.attention.qkv.bias.grad.chunk(3)
        assert key.abs().max() < 1e-9 < 1e-4 < min(query.abs().max(), value.abs().max())


@pytest.fixture
def batch():
    """Three images with their times and labels, in float64."""
    return torch.randn(3, 1, 8, 8, dtype=torch.float64), torch.tensor([1, 40, 1000]), torch.tensor([0, 2, 1])


def test_each_image_gets_what_it_would_get_alone(batch):
    model = make_dit(condition=3)
    together = model(*batch)
    for i in range(3):
        alone = model(*(part[i : i + 1] for part in batch))
        assert (together[i] - alone[0]).abs().max() < 1e-10


def test_time_and_label_count_for_each_image(batch):
    model, x = make_dit(condition=2), batch[0][:1].repeat(3, 1, 1, 1)
    for t, labels in (([1, 2, 1000], [0, 0, 0]), ([7, 7, 7], [0, 1, 2])):
        t, labels = torch.tensor(t), torch.tensor(labels)
        out = model(x, t, labels)
        assert ((out - out.roll(1, dims=0)).abs().amax(dim=(1, 2, 3)) > 0.001).all()
        assert (model(x, t.roll(-1), labels.roll(-1)) - out.roll(-1, dims=0)).abs().max() < 1e-12


def test_no_labels_mean_the_extra_label(batch):
    model, (x, t, _) = make_dit(condition=3), batch
    assert torch.equal(model(x, t), model(x, t, torch.tensor([3, 3, 3])))


def test_condition_can_be_a_module_of_ones_own(batch):
    class Numbers(nn.Linear):
        null = torch.zeros(2, dtype=torch.float64)

    model, (x, t, _) = make_dit(condition=Numbers(2, 16)), batch
    told = torch.randn(3, 2).double()
    assert torch.equal(model(x, t), model(x, t, torch.zeros_like(told)))
    assert (model(x, t, told) - model(x, t)).abs().max() > 0.001


# Where the patches look


def test_attention_maps_are_torchs_own(batch):
    model, inputs = make_dit(condition=3), []
    model.blocks[1].attention.register_forward_pre_hook(lambda part, its: inputs.append(its[0]))
    maps = attention_maps(model, *batch)
    theirs = torchs_attention(model.blocks[1].attention)
    expected = theirs(inputs[0], inputs[0], inputs[0], average_attn_weights=False)[1]
    assert maps.shape == (2, 3, 2, 16, 16)
    assert (maps[1] - expected).abs().max() < 1e-12
    assert (maps.sum(dim=4) - 1).abs().max() < 1e-12


def test_attention_maps_leave_the_network_as_it_was_after_an_error_too(batch):
    model, (x, t, _) = make_dit(), batch
    attention_maps(model, x, t)
    with pytest.raises(RuntimeError):
        attention_maps(model, x[..., :7], t)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


# It is used as a UNet is


def test_train_checkpoint_and_samplers_take_a_dit(tmp_path):
    path, labels = cosine_schedule(), torch.tensor([0, 1, 2, 1])
    model = DiT(width=16, depth=1, heads=2, patch=2, condition=3)
    ema, file = EMA(model), tmp_path / "dit.safetensors"
    images = torch.randint(256, (4, 1, 4, 6), dtype=torch.uint8)
    train(model, images, path, steps=3, batch_size=2, ema=ema, condition=labels, drop=0.5, checkpoint=file)
    again = load_dit(file)
    for network in (ema.model, again):
        network.denoise = denoiser(network, path, labels)
    both = [
        sample(network.denoise, images.shape, path, ddim_step, 3, generator=torch.Generator().manual_seed(0))
        for network in (ema.model, again)
    ]
    assert torch.equal(*both)
    assert both[0].isfinite().all()


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
SMALL = dict(width=64, depth=2, heads=2, patch=2)


@pytest.mark.slow
def test_network_overfits_a_batch():
    assert loss_after_training(DiT(**SMALL), torch.randn(8, 1, 8, 8), TIMES, NOISE) < 0.01


@pytest.mark.slow
def test_network_learns_to_tell_times_and_places_apart():
    # One grey picture, eight times over: only time and place say which noise to answer with.
    assert loss_after_training(DiT(**SMALL), torch.zeros(8, 1, 8, 8), TIMES, NOISE) < 0.01
