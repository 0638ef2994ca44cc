"""The IMDB reviews as Keras numbers them: from Keras' download and cache, or from an imdb.npz."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dnndk_prep.data.parts import ONLY_INPUT, ArrayPart
from dnndk_prep.data.safe_pickle import load_npz
from dnndk_prep.data.sources import Dataset
from dnndk_prep.errors import ModelFileError

# The settings of Keras' own IMDB LSTM example: the last 80 words of a review, of the 20,000 most frequent ones.
LENGTH = 80
WORDS = 20_000
# keras.datasets.imdb.load_data: order of the reviews, and the numbers that mean something else than a word.
_SHUFFLE_SEED, _START, _UNKNOWN, _FIRST_WORD = 113, 1, 2, 3


def open_imdb(path: Path | None) -> Dataset:
    """int32 reviews of 80 word numbers below 20,000, zeros in front of short ones; labels 0 negative, 1 positive.

    `path` is an imdb.npz as Keras downloads it, None means that download. Raises ModelFileError if the download fails
    or the file is wrong, UnsafeFileError if its pickles hold anything but lists of numbers.
    """
    (x_train, y_train), (x_test, y_test) = _from_keras() if path is None else _from_file(path)
    train, test = (
        ArrayPart({ONLY_INPUT: pad(x)}, np.asarray(y, np.int64)) for x, y in ((x_train, y_train), (x_test, y_test))
    )
    return Dataset("imdb", train, test, ("negative", "positive"))


def pad(reviews: Sequence[Sequence[int]]) -> np.ndarray:
    """int32 (N, 80): the end of each review, zeros in front of short ones, as keras' pad_sequences does."""
    padded = np.zeros((len(reviews), LENGTH), np.int32)
    for row, review in zip(padded, reviews, strict=True):
        tail = review[-LENGTH:]
        if tail:
            row[-len(tail) :] = tail
    return padded


_Half = tuple[Sequence[Sequence[int]], np.ndarray]


def _from_keras() -> tuple[_Half, _Half]:
    from keras.datasets import imdb  # Keras takes seconds to import, and is needed on this way only.

    try:
        return imdb.load_data(num_words=WORDS)
    except Exception as error:  # Keras raises a bare Exception when a download fails.
        raise ModelFileError(
            "IMDB could not be had from Keras",
            expected="a working download, or Keras' cache in ~/.keras/datasets",
            found=str(error),
            remedy="set dataset.path to an imdb.npz",
        ) from error


def _from_file(path: Path) -> tuple[_Half, _Half]:
    arrays = load_npz(path)
    missing = [name for name in ("x_train", "y_train", "x_test", "y_test") if name not in arrays]
    if missing:
        raise ModelFileError(
            f"{path} is not Keras' imdb.npz",
            expected="x_train, y_train, x_test, y_test",
            found=f"no {', '.join(missing)}",
            remedy="take imdb.npz from Keras' cache, ~/.keras/datasets",
        )
    random = np.random.RandomState(_SHUFFLE_SEED)
    return _half(path, arrays, "train", random), _half(path, arrays, "test", random)


def _half(path: Path, arrays: dict[str, np.ndarray], part: str, random: np.random.RandomState) -> _Half:
    reviews, labels = arrays[f"x_{part}"], arrays[f"y_{part}"]
    if len(reviews) != len(labels) or not all(_is_review(review) for review in reviews):
        raise ModelFileError(
            f"{path} is not Keras' imdb.npz",
            expected=f"x_{part}: one list of word numbers for each of {len(labels)} labels",
            found=f"{len(reviews)} entries of {type(reviews[0]).__name__ if len(reviews) else 'nothing'}",
            remedy="take imdb.npz from Keras' cache, ~/.keras/datasets",
        )
    order = np.arange(len(reviews))
    random.shuffle(order)
    return [_numbered(reviews[i]) for i in order], labels[order]


def _is_review(review: object) -> bool:
    return isinstance(review, list) and all(type(word) is int for word in review)


def _numbered(review: Sequence[int]) -> list[int]:
    shifted = (word + _FIRST_WORD for word in review)
    return [_START, *(word if word < WORDS else _UNKNOWN for word in shifted)]
