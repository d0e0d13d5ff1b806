"""Words: their numbers, what an encoder makes of them, and how a UNet looks at them."""

import copy
import inspect
from functools import partial
from math import prod

import pytest
import torch
import torch.nn.functional as F
import train_text
from torch import nn

from course_utils.checkpoints import load_checkpoint, load_unet, save_checkpoint
from course_utils.data import emoji
from course_utils.predictions import VELOCITY
from course_utils.sampling import ddim_step, sample
from course_utils.schedule import straight_path
from course_utils.text import PADDING, UNKNOWN, TextEncoder, Vocabulary, text_denoiser, tokenise
from course_utils.training import EMA, diffusion_loss, train
from course_utils.unet import CrossAttention, TextUNet, UNet

NAMES = ["red heart", "blue heart", "nine o’clock", "red apple", "piñata", "face with tears of joy"]
ARTISTS = ("noto", "fluent", "blob")
each_form = pytest.mark.parametrize("tokens", [False, True], ids=["embedding", "tokens"])


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def encoder(dim=32, tokens=False, **options):
    return TextEncoder(NAMES, ARTISTS, dim, tokens, **options).double()


@pytest.fixture
def make_text_unet(make_unet):
    return lambda tokens, **config: make_unet(
        base_channels=8, multipliers=(1, 2, 2), condition=encoder(tokens=tokens), **config
    ).double()


def pictures(number):
    return torch.randn(number, 1, 16, 16, dtype=torch.float64), torch.arange(1, 1 + 300 * number, 300)


# Words and numbers


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("red heart", "red heart"),
        ("  Red,HEART!  ", "red heart"),
        ("piñata PIÑATA pin\u0303ata", "pinata pinata pinata"),
        ("nine o’clock nine o'clock", "nine oclock nine oclock"),
        ("heart-eyes_2nd 100", "heart eyes 2nd 100"),
        ("İstanbul Ångström naïve", "istanbul angstrom naive"),
        ("красное сердце 心", "красное сердце 心"),
        (" - !? ", ""),
        ("", ""),
    ],
)
def test_tokens_are_words_and_digits_without_case_and_accents(text, words):
    assert tokenise(text) == words.split()
    assert tokenise(" ".join(tokenise(text))) == tokenise(text)


def test_numbers_are_alphabetical_from_2_and_lead_back_to_the_words():
    vocabulary = Vocabulary(NAMES)
    assert vocabulary.words[2:] == sorted({word for name in NAMES for word in tokenise(name)})
    assert len(vocabulary) == 2 + 12
    numbers = vocabulary.encode(NAMES)
    assert numbers.dtype == torch.long
    assert numbers.shape == (6, 5)  # "face with tears of joy" is the longest
    assert vocabulary.decode(numbers) == [" ".join(tokenise(name)) for name in NAMES]
    assert [vocabulary.words[vocabulary.number[word]] for word in vocabulary.words] == vocabulary.words
    assert Vocabulary(vocabulary.words).words == vocabulary.words  # so a list of words is all there is to save


def test_padding_is_0_and_any_other_word_1():
    vocabulary = Vocabulary(["b a"])
    assert vocabulary.encode(["a zebra b", "B", ""]).tolist() == [[2, UNKNOWN, 3], [3, PADDING, PADDING], [PADDING] * 3]
    assert vocabulary.encode("b", length=3).tolist() == [[3, 0, 0]]
    assert vocabulary.encode(["b a b"], length=2).tolist() == [[3, 2, 3]]  # nothing is cut off
    assert vocabulary.encode(["", ""]).shape == (2, 0)
    assert vocabulary.decode(torch.tensor([[2, UNKNOWN, 0]])) == ["a ?"]


def test_the_words_of_held_out_names_are_among_those_to_learn():
    words, *others = (Vocabulary(emoji(split)[1]).words for split in ("train", "pairs", "names"))
    assert len(words) == 1156  # with padding and unknown words
    assert {*others[0], *others[1]} <= set(words)


# What the encoder makes of them


def test_a_prompt_is_the_artist_and_then_the_words():
    told, word = encoder(length=3), Vocabulary(NAMES).number
    red, blue, heart = word["red"], word["blue"], word["heart"]
    assert told.prompts(["red heart", "blue"], ["blob", None]).tolist() == [[2, red, heart, 0], [3, blue, 0, 0]]
    assert told.prompts("red heart", "noto").tolist() == [[0, red, heart, 0]]
    assert told.prompts(["red", "heart"], torch.tensor([1, 0])).tolist() == [[1, red, 0, 0], [0, heart, 0, 0]]
    assert torch.equal(told.prompts("")[0], told.null)
    with pytest.raises(ValueError, match="picasso"):
        told.prompts("red", "picasso")


def test_the_embedding_is_the_sum_that_torch_makes_of_a_bag_of_words():
    told = encoder()
    condition = told.prompts(NAMES, ["noto", "blob", None] * 2)
    bags = F.embedding_bag(condition[:, 1:], told.words.weight, mode="sum", padding_idx=PADDING)
    assert (told(condition) - bags - told.artist.weight[condition[:, 0]]).abs().max() < 1e-14


def test_tokens_are_the_artist_and_the_words_with_zeros_for_padding():
    told = encoder(tokens=True)
    condition = told.prompts(NAMES, "blob")
    tokens = told(condition)
    assert tokens.shape == (6, 9, 32)
    assert torch.equal(tokens[:, 0], told.artist.weight[2].expand(6, -1))
    assert torch.equal((tokens == 0).all(dim=2)[:, 1:], condition[:, 1:] == PADDING)
    assert torch.equal(tokens[0, 2], told.words.weight[told.vocabulary.number["heart"]])


@each_form
def test_padding_has_no_say(make_text_unet, tokens):
    """The same prompt padded to another length gives the same picture, and learns the same.

    A sum is the same to the last bit. Attention adds up its zeros in another order when there are more of them.
    """
    model, (x, t) = make_text_unet(tokens), pictures(3)
    prompts, outputs, gradients = ["red heart", "pinata", ""], [], []
    for length in (2, 8, 13):
        artists = torch.tensor([0, 3, 1])[:, None]
        output = model(x, t, torch.cat([artists, model.condition.vocabulary.encode(prompts, length)], dim=1))
        outputs.append(output.detach())
        gradients.append(torch.autograd.grad(output.square().sum(), model.condition.words.weight)[0])
    allowed = 1e-13 * outputs[0].abs().max() if tokens else 0
    assert all((output - outputs[0]).abs().max() <= allowed for output in outputs)
    assert all((gradient - gradients[0]).abs().max() < 1e-12 * gradients[0].abs().max() for gradient in gradients)
    assert (gradients[0][[PADDING, UNKNOWN]] == 0).all()


@each_form
def test_an_unknown_word_says_nothing(make_text_unet, tokens):
    model, (x, t) = make_text_unet(tokens), pictures(2)
    with_it, without = (model.condition.prompts([f"{word} red heart"] * 2, "noto") for word in ("crimson", ""))
    assert torch.equal(model(x, t, with_it), model(x, t, without))


@each_form
def test_words_and_artist_count_for_each_picture(make_text_unet, tokens):
    model, x, t = make_text_unet(tokens), *pictures(1)
    x, t = x.expand(4, -1, -1, -1), t.expand(4)
    told = model.condition.prompts(["red heart", "red heart", "blue heart", ""], ["noto", "blob", "noto", "noto"])
    out = model(x, t, told)
    assert torch.pdist(out.flatten(1)).min() > 0.01
    order = torch.tensor([2, 0, 3, 1])
    assert (model(x, t, told[order]) - out[order]).abs().max() < 1e-12


@each_form
def test_no_condition_means_nobody_and_no_words(make_text_unet, tokens):
    model, (x, t) = make_text_unet(tokens), pictures(2)
    assert torch.equal(model(x, t), model(x, t, model.condition.prompts(["", ""])))


# Cross-attention


def random_cross_attention(channels=16, token_dim=12, heads=4):
    block = CrossAttention(channels, token_dim, heads).double()
    for weight in block.parameters():
        nn.init.normal_(weight, std=0.3)
    return block


def some_tokens(padded=((), (3, 4), (0, 2))):
    """(3, 5, 12), with these tokens of each picture zero."""
    tokens = torch.randn(3, 5, 12, dtype=torch.float64)
    for i, places in enumerate(padded):
        tokens[i, list(places)] = 0
    return tokens


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_cross_attention_is_torchs_own_with_the_same_weights(heads):
    block, tokens, x = random_cross_attention(heads=heads), some_tokens(), torch.randn(3, 16, 4, 6).double()
    torchs = nn.MultiheadAttention(16, heads, kdim=12, vdim=12, batch_first=True).double()
    (key, value), (key_bias, value_bias) = (weight.chunk(2) for weight in block.key_value.parameters())
    torchs.load_state_dict(
        {
            "q_proj_weight": block.query.weight[:, :, 0, 0],
            "k_proj_weight": key,
            "v_proj_weight": value,
            "in_proj_bias": torch.cat([block.query.bias, key_bias, value_bias]),
            "out_proj.weight": block.out.weight[:, :, 0, 0],
            "out_proj.bias": block.out.bias,
        }
    )
    rows = block.norm(x).flatten(2).mT  # (B, positions, C)
    padding = (tokens == 0).all(dim=2)
    assert padding.sum() == 4
    found, _ = torchs(rows, tokens, tokens, key_padding_mask=padding)
    assert (block(x, tokens) - x - found.mT.reshape(x.shape)).abs().max() < 1e-12


def test_new_cross_attention_passes_its_input_on():
    x = torch.randn(3, 16, 4, 6)
    assert torch.equal(CrossAttention(16, 12)(x, some_tokens().float()), x)


def test_the_order_of_tokens_does_not_matter():
    block, tokens, x = random_cross_attention(), some_tokens(), torch.randn(3, 16, 4, 6).double()
    assert (block(x, tokens[:, torch.randperm(5)]) - block(x, tokens)).abs().max() < 1e-12


# A UNet that reads tokens


def test_a_unet_whose_condition_gives_tokens_has_cross_attention_at_every_resolution():
    config = dict(in_channels=3, base_channels=8, multipliers=(1, 2, 3))
    assert type(UNet(**config, condition=encoder())) is UNet
    for model in (UNet(**config, condition=encoder(tokens=True)), UNet(3, 8, (1, 2, 3), encoder(tokens=True))):
        assert type(model) is TextUNet
        assert sizes_of_cross_attention(model.double()) == [(24, 2, 3), (24, 4, 6), (16, 8, 12)]
        again = copy.deepcopy(model)
        assert type(again) is TextUNet
        assert again.config == model.config | dict(condition=again.condition)
    assert list(inspect.signature(UNet).parameters) == [*config, "condition", "patch"]


def sizes_of_cross_attention(model):
    sizes = []
    for part in model.modules():
        if isinstance(part, CrossAttention):
            part.register_forward_hook(lambda part, inputs, output: sizes.append(output.shape[1:]))
    model(torch.randn(2, 3, 16, 24, dtype=torch.float64), torch.tensor([1, 2]))
    return sizes


def test_new_cross_attention_changes_nothing_in_the_network(make_text_unet):
    """With its cross-attention new, a TextUNet is the UNet that is told the sum of the tokens."""
    plain, (x, t) = make_text_unet(tokens=False), pictures(4)
    model = UNet(1, 8, (1, 2, 2), encoder(tokens=True)).double()
    new = {id(weight) for part in model.modules() if isinstance(part, CrossAttention) for weight in part.parameters()}
    old = [weight for weight in model.parameters() if id(weight) not in new]
    for weight, its in zip(old, plain.parameters(), strict=True):
        weight.data = its.data
    told = plain.condition.prompts(NAMES[:4], ["noto", None, "blob", "fluent"])
    assert torch.equal(model(x, t, told), plain(x, t, told))
    assert torch.equal(model(x, t), plain(x, t))
    for part in model.modules():
        if isinstance(part, CrossAttention):
            nn.init.normal_(part.out.weight)
    assert (model(x, t, told) - plain(x, t, told)).abs().amax(dim=(1, 2, 3)).min() > 0.01


def test_every_weight_of_a_network_that_reads_has_a_say(make_unet):
    # With 8 channels each would be a group of its own, and the normalisation would take the biases before it away.
    told = TextEncoder(["a b"], ["c"], 64, tokens=True)
    model = make_unet(base_channels=16, multipliers=(1, 2, 2), condition=told)
    condition = told.prompts(["a b", "b"], ["c", None])
    model(torch.randn(2, 1, 16, 16), torch.tensor([1, 500]), condition).square().sum().backward()
    said = [name for name, weight in model.named_parameters() if weight.grad.abs().max() > 1e-3]
    # A bias of the keys changes all scores of a query alike, so the softmax takes it away; but it shares a layer with
    # that of the values, which does count.
    assert said == [name for name, _ in model.named_parameters()]


def test_a_picture_is_told_its_own_words_only(make_text_unet):
    model, (x, t) = make_text_unet(tokens=True), pictures(3)
    told = model.condition.prompts(["red heart", "blue heart", "pinata"], "noto")
    other = told.clone()
    other[1] = model.condition.prompts("face with tears of joy", "blob")[0]
    change = (model(x, t, other) - model(x, t, told)).abs().amax(dim=(1, 2, 3))
    assert change[[0, 2]].max() < 1e-12
    assert change[1] > 0.01


# Withheld, trained, saved, guided


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_words_and_artist_are_withheld_independently(share):
    told, N = encoder(), 20_000
    condition = told.prompts(["red heart"] * N, "blob")
    kept = told.withhold(condition, share, torch.Generator().manual_seed(0))
    artist, words = kept[:, 0] != told.null[0], (kept[:, 1:] != PADDING).any(dim=1)
    assert torch.equal(kept[artist, 0], condition[artist, 0])
    assert torch.equal(kept[words, 1:], condition[words, 1:])  # all words together, or none
    for a, w in [(0, 0), (0, 1), (1, 0), (1, 1)]:
        expected = prod((1 - share) if one else share for one in (a, w))
        found = ((artist == a) & (words == w)).double().mean()
        assert abs(found - expected) <= 5 * (expected * (1 - expected) / N) ** 0.5
    assert torch.equal(condition, told.prompts(["red heart"] * N, "blob"))


class Noting(nn.Module):
    """A network that notes what it is told."""

    def __init__(self, told):
        super().__init__()
        self.condition, self.weight, self.seen = told, nn.Parameter(torch.ones(())), []

    def forward(self, x, t, condition):
        self.seen.append(condition)
        return self.weight * x


def test_training_withholds_as_the_encoder_does():
    images = torch.randint(256, (6, 1, 8, 8), dtype=torch.uint8)
    model = Noting(encoder())
    condition = model.condition.prompts(NAMES, "blob")
    train(model, images, straight_path(), steps=100, condition=condition, drop=0.25)
    seen = torch.cat(model.seen)
    four = {(bool(row[0] == 3), bool((row[1:] == PADDING).all())) for row in seen}
    assert len(four) == 4  # words without an artist, an artist without words, both, and nothing
    assert 0.15 < (seen[:, 0] == 3).double().mean() < 0.35


def test_weights_come_back_with_their_vocabulary(make_text_unet, tmp_path):
    for tokens in (False, True):
        model, (x, t), path = make_text_unet(tokens).float(), pictures(6), tmp_path / f"{tokens}.safetensors"
        ema = EMA(model)
        nn.init.normal_(ema.model.condition.words.weight)  # otherwise than the model, so that one sees which is loaded
        save_checkpoint(path, model, ema=ema, history=[0.5])
        again = load_unet(path)
        assert type(again) is type(model)
        assert not again.training
        told = again.condition.prompts(NAMES, "fluent")
        assert torch.equal(told, model.condition.prompts(NAMES, "fluent"))
        assert again.condition.artists == list(ARTISTS)
        assert torch.equal(again(x.float(), t, told), ema.model(x.float(), t, told))
        assert load_checkpoint(path, model) == [0.5]


def test_guided_denoiser_combines_three_calls_and_clips_last(make_text_unet):
    model, x, path = make_text_unet(tokens=True), torch.randn(2, 1, 16, 16, dtype=torch.float64), straight_path()
    told = model.condition.prompts(["red heart", "pinata"], ["noto", "blob"])
    t = torch.tensor([700, 700])
    no_words = model.condition.prompts(["", ""], ["noto", "blob"])
    with torch.no_grad():
        both, artist, neither = (VELOCITY.x_0(x, 700, model(x, t, its), path) for its in (told, no_words, None))
    found = text_denoiser(model, path, told, words_scale=4, artist_scale=1.5)(x, 700)
    expected = neither + 1.5 * (artist - neither) + 4 * (both - artist)
    assert (found - expected.clamp(-1, 1)).abs().max() < 1e-12
    assert 0.05 < (expected.abs() > 1).double().mean() < 0.95
    unclipped = text_denoiser(model, path, told, words_scale=4, artist_scale=1.5, clip=False)(x, 700)
    assert (unclipped - expected).abs().max() < 1e-12
    plain = text_denoiser(model, path, told)(x, 700)
    assert (plain - both.clamp(-1, 1)).abs().max() < 1e-12


@pytest.mark.slow
def test_weights_are_trained_from_a_terminal(tmp_path, monkeypatch, capsys):
    images, artists = torch.randint(256, (6, 3, 32, 32), dtype=torch.uint8), torch.arange(6)
    monkeypatch.setattr(train_text, "emoji", lambda split: (images, NAMES, artists))
    monkeypatch.setattr(train_text, "SHEET", ["red apple"])
    monkeypatch.setattr("sys.argv", ["", "--steps", "3", "--channels", "8", "--out", str(tmp_path)])
    for _ in range(2):  # the second time there is nothing left to do
        train_text.main()
        model = load_unet(tmp_path / "text.safetensors")
        assert type(model) is TextUNet
        assert model.condition.vocabulary.words == Vocabulary(NAMES).words
        assert "3 of 3 steps of 32" in (tmp_path / "card.md").read_text()
    assert (tmp_path / "samples.png").stat().st_size > 1000
    assert "step 3 of 3" in capsys.readouterr().out


def test_the_weights_that_it_ships_fit_into_12_mb():
    with torch.device("meta"):
        words = [f"w{number}" for number in range(1156)]
        model = UNet(3, 48, train_text.MULTIPLIERS, TextEncoder(words, range(6), 192, tokens=True))
    weights = 4 * sum(weight.numel() for weight in model.parameters())
    assert weights + 100_000 < 12_000_000  # with the vocabulary and the losses


@pytest.mark.slow
@each_form
def test_a_network_learns_what_words_and_artists_mean(tokens):
    """Each word, as each artist draws it, has a brightness of its own, and is drawn with it."""
    value = {("low", "noto"): -0.8, ("low", "blob"): -0.4, ("high", "noto"): 0.2, ("high", "blob"): 0.6}
    path, told = straight_path(), TextEncoder(["low", "high"], ["noto", "blob"], 64, tokens)
    images = torch.tensor(list(value.values())).reshape(4, 1, 1, 1).expand(4, 1, 4, 4)
    condition = told.prompts(*zip(*value, strict=True))
    model = train_and_average(UNet(1, 16, (1,), told, patch=1), images, path, condition)
    drawn = sample(text_denoiser(model, path, condition), images.shape, path, ddim_step, num_steps=20)
    brightness = torch.tensor(list(value.values()))
    assert (drawn.mean(dim=(1, 2, 3)) - brightness).abs().max() < 0.2  # half the way to the next


def train_and_average(model, images, path, condition):
    ema, loss = EMA(model), partial(diffusion_loss, predicts=VELOCITY)
    train(model, images, path, steps=400, ema=ema, condition=condition, drop=0.1, loss=loss)
    return ema.model
