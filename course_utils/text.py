"""From words to what a network can be told: a vocabulary, and an encoder for words and an artist (notebook 12)."""

import re
import unicodedata
from collections.abc import Callable, Iterable
from numbers import Real

import torch
from jaxtyping import Int
from torch import Tensor, nn

from course_utils.annotations import Path, Texts, checked
from course_utils.guidance import guided_twice
from course_utils.predictions import VELOCITY, Prediction
from course_utils.sampling import clipped, denoiser
from course_utils.unet import LabelEmbedding

PADDING, UNKNOWN = 0, 1  # the first two numbers, which stand for no word


@checked
def tokenise(text: str) -> list:
    """The words and numbers in a text, in lower case, without accents and apostrophes.

    "Piñata, nine o'clock!" -> ["pinata", "nine", "oclock"]
    """
    letters = unicodedata.normalize("NFKD", re.sub("['’]", "", text))  # takes é apart, into e and its accent
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return re.findall(r"[^\W_]+", plain.lower())


class Vocabulary:
    """A number for every word in `names`, from 2, in alphabetical order. 0 is padding, 1 is any other word.

    `words` lists them by number, with "" for padding and "?" for other words.
    """

    def __init__(self, names: Iterable[str]):
        self.words = ["", "?", *sorted({word for name in names for word in tokenise(name)})]
        self.number = {word: number for number, word in enumerate(self.words)}

    def __len__(self):
        return len(self.words)

    @checked
    def encode(self, texts: Texts, length: int = 0) -> Int[Tensor, "B L"]:
        """The numbers of each text's words, then padding: up to the longest text, or to `length` if that is more."""
        texts = [texts] if isinstance(texts, str) else texts
        rows = [[self.number.get(word, UNKNOWN) for word in tokenise(text)] for text in texts]
        length = max(length, *map(len, rows))
        return torch.tensor([row + [PADDING] * (length - len(row)) for row in rows], dtype=torch.long)

    @checked
    def decode(self, numbers: Int[Tensor, "B L"]) -> list:
        """The words again, a text for each row, without padding."""
        return [" ".join(self.words[number] for number in row if number != PADDING) for row in numbers.tolist()]


class TextEncoder(nn.Module):
    """Turns artists and words into embeddings, (B, dim), or into tokens, (B, 1 + L, dim), for cross-attention.

    A condition is (B, 1 + L), int64: the artist's number, then those of the words, then padding; `prompts` makes it.
    The number after the last artist's stands for "nobody in particular", and `null` is that, without a word. Each
    artist and each word has a vector, and the embedding is their sum. Padding and unknown words are zeros.

    Args:
        vocabulary: a Vocabulary, or the names to make one from.
        artists: their names.
        dim: the length of a vector: a UNet's time_dim, which is 4 * base_channels.
        tokens: whether to give the vectors themselves, the artist's first, instead of their sum.
        length: how many words `prompts` leaves room for; longer texts get more.
    """

    def __init__(self, vocabulary, artists, dim, tokens=False, length=8):
        super().__init__()
        self.vocabulary = vocabulary if isinstance(vocabulary, Vocabulary) else Vocabulary(vocabulary)
        self.artists, self.tokens, self.length = list(artists), tokens, length
        self.config = dict(vocabulary=self.vocabulary.words, artists=self.artists, dim=dim, tokens=tokens)
        self.config |= dict(length=length)
        self.artist, self.words = LabelEmbedding(len(self.artists), dim), nn.Embedding(len(self.vocabulary), dim)
        self.null = torch.tensor([self.artist.null] + [PADDING] * length)

    def forward(self, condition: Int[Tensor, "B one_plus_L"]):
        artist, numbers = condition[:, :1], condition[:, 1:]
        words = self.words(numbers) * (numbers > UNKNOWN)[:, :, None]
        tokens = torch.cat([self.artist(artist), words], dim=1)
        return tokens if self.tokens else tokens.sum(dim=1)

    @checked
    def prompts(self, texts: Texts, artists=None) -> Int[Tensor, "B one_plus_L"]:
        """The condition for some texts, drawn as the artists would: a name for all, one for each, numbers, or None."""
        words = self.vocabulary.encode(texts, self.length)
        if not isinstance(artists, Tensor):
            names = [artists] * len(words) if artists is None or isinstance(artists, str) else artists
            artists = torch.tensor([self.artist.null if name is None else self.artists.index(name) for name in names])
        return torch.cat([artists[:, None], words], dim=1)

    def withhold(self, condition, share, generator):
        """Artists replaced by nobody, and words by none, each with probability `share`, independently: for `train`."""
        told = torch.rand(2, len(condition), 1, generator=generator, device=condition.device) >= share
        artist = torch.where(told[0], condition[:, :1], self.artist.null)
        return torch.cat([artist, condition[:, 1:] * told[1]], dim=1)


@checked
def text_denoiser(
    model: Callable,
    path: Path,
    condition: Int[Tensor, "B one_plus_L"],
    words_scale: Real = 1,
    artist_scale: Real = 1,
    predicts: Prediction = VELOCITY,
):
    """`guided_twice` for a network with a TextEncoder, clipped; `condition` comes from its `prompts`."""
    no_words = torch.cat([condition[:, :1], torch.full_like(condition[:, 1:], PADDING)], dim=1)
    three = (denoiser(model, path, told, predicts, clip=False) for told in (condition, no_words, None))
    return clipped(guided_twice(*three, words_scale, artist_scale))
