"""The parts of a dataset: examples that are read one by one and handed out as batches for the model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from dnndk_prep.data.images import read_image, read_mask
from dnndk_prep.data.preprocess import Preprocess
from dnndk_prep.errors import ModelFileError, nearest

ONLY_INPUT = ""


class Part(ABC):
    """The training or the test part: `len`, raw examples by number, and batches of float32 arrays.

    `input_names` has one entry an input; a dataset with one input does not know its name and calls it "".
    `labels` are class numbers of shape (N,), or None where labels are class maps (segmentation) or missing.
    """

    def __init__(
        self, count: int, input_names: Sequence[str], image_inputs: Sequence[bool], labels: np.ndarray | None
    ) -> None:
        self._count, self.labels = count, labels
        self.input_names, self.image_inputs = tuple(input_names), tuple(image_inputs)

    def __len__(self) -> int:
        return self._count

    @property
    def is_image(self) -> bool:
        """Whether the one input is an image; with several inputs it is False."""
        return self.image_inputs == (True,)

    @property
    def has_masks(self) -> bool:
        """Whether the labels are class maps (segmentation)."""
        return False

    @abstractmethod
    def load(self, i: int, which: int = 0) -> np.ndarray:
        """Raw example `i` of input `which`: uint8 HxWxC (RGB or one channel) for an image, else as stored."""

    def load_mask(self, i: int) -> np.ndarray:
        """The uint8 HxW class map of example `i`; only where `has_masks`."""
        raise ModelFileError("this dataset has no masks", expected="a dataset with label masks", found=f"example {i}")

    def name_of(self, i: int) -> str:
        """What to call example `i` in a message."""
        return f"example {i}"

    def batches(
        self, preprocess: Preprocess, batch_size: int, indices: Iterable[int] | None = None
    ) -> Iterator[list[np.ndarray]]:
        """One float32 array an input, `batch_size` examples each (the last may be short), in the order of `indices`.

        Raises ModelFileError for an unreadable image, or images that differ in size with no resize set.
        """
        for numbers in _chunks(range(len(self)) if indices is None else indices, batch_size):
            yield [self._input(preprocess, numbers, which) for which in range(len(self.input_names))]

    def label_batches(
        self, preprocess: Preprocess, batch_size: int, indices: Iterable[int] | None = None
    ) -> Iterator[np.ndarray | None]:
        """Labels beside `batches`: class numbers (N,), class maps (N, H, W), or None where there are none."""
        for numbers in _chunks(range(len(self)) if indices is None else indices, batch_size):
            if self.has_masks:
                yield self._stack([preprocess.mask_geometry(self.load_mask(i)) for i in numbers], numbers)
            else:
                yield None if self.labels is None else self.labels[numbers]

    def pixels(self, preprocess: Preprocess, i: int) -> np.ndarray:
        """Image `i` after `preprocess.geometry`, uint8."""
        try:
            return preprocess.geometry(self.load(i))
        except ModelFileError as error:
            raise ModelFileError(
                f"{self.name_of(i)}: {error.problem}", expected=error.expected, found=error.found, remedy=error.remedy
            ) from error

    def shapes(self, preprocess: Preprocess) -> dict[str, tuple[int, ...]]:
        """The shape of one example of each input as the model would get it, told from the first example."""
        raw = [self.load(0, which).shape for which in range(len(self.input_names))]
        return {
            name: preprocess.output_shape(shape) if image else shape
            for name, shape, image in zip(self.input_names, raw, self.image_inputs, strict=True)
        }

    def _input(self, preprocess: Preprocess, numbers: Sequence[int], which: int) -> np.ndarray:
        if not self.image_inputs[which]:
            return np.stack([np.asarray(self.load(i, which), np.float32) for i in numbers])
        if self.is_image:
            return preprocess.values(self._stack([self.pixels(preprocess, i) for i in numbers], numbers))
        return preprocess.values(self._stack([preprocess.geometry(self.load(i, which)) for i in numbers], numbers))

    def _stack(self, images: Sequence[np.ndarray], numbers: Sequence[int]) -> np.ndarray:
        for number, image in zip(numbers, images, strict=True):
            if image.shape != images[0].shape:
                raise ModelFileError(
                    "the images differ in size",
                    expected=f"{_size(images[0])}, as {self.name_of(numbers[0])}",
                    found=f"{_size(image)} in {self.name_of(number)}",
                    remedy="set preprocess.resize: [height, width]",
                )
        return np.stack(images)


class ArrayPart(Part):
    """Examples that lie in memory, one array an input; `masks` are class maps (N, H, W)."""

    def __init__(
        self, inputs: Mapping[str, np.ndarray], labels: np.ndarray | None = None, masks: np.ndarray | None = None
    ) -> None:
        self._arrays, self._masks = list(inputs.values()), masks
        super().__init__(len(self._arrays[0]), list(inputs), [is_image_array(a) for a in self._arrays], labels)

    @property
    def has_masks(self) -> bool:
        return self._masks is not None

    def load(self, i: int, which: int = 0) -> np.ndarray:
        return self._arrays[which][i]

    def load_mask(self, i: int) -> np.ndarray:
        return super().load_mask(i) if self._masks is None else self._masks[i]


class FolderPart(Part):
    """Image files, read only when asked for; `masks` are the files of the class maps."""

    def __init__(
        self, root: Path, files: Sequence[Path], labels: np.ndarray | None, masks: Sequence[Path] | None = None
    ) -> None:
        super().__init__(len(files), [ONLY_INPUT], [True], labels)
        self._root, self._files, self._masks = root, files, masks

    @property
    def has_masks(self) -> bool:
        return self._masks is not None

    def load(self, i: int, which: int = 0) -> np.ndarray:
        return read_image(self._files[i])

    def load_mask(self, i: int) -> np.ndarray:
        if self._masks is None:
            return super().load_mask(i)
        mask, image = read_mask(self._masks[i]), self.load(i)
        if mask.shape != image.shape[:2]:
            raise ModelFileError(
                f"the mask {self._masks[i]} does not fit its image",
                expected=_size(image),
                found=_size(mask),
                remedy="give the mask the height and width of its image",
            )
        return mask

    def name_of(self, i: int) -> str:
        return self._files[i].relative_to(self._root).as_posix()


class ReorderedPart(Part):
    """A part seen with its inputs in the model's order and under the model's names."""

    def __init__(self, part: Part, names: Sequence[str], order: Sequence[int]) -> None:
        super().__init__(len(part), names, [part.image_inputs[i] for i in order], part.labels)
        self._part, self._order = part, order

    @property
    def has_masks(self) -> bool:
        return self._part.has_masks

    def load(self, i: int, which: int = 0) -> np.ndarray:
        return self._part.load(i, self._order[which])

    def load_mask(self, i: int) -> np.ndarray:
        return self._part.load_mask(i)

    def name_of(self, i: int) -> str:
        return self._part.name_of(i)


def with_inputs(part: Part, names: Sequence[str]) -> Part:
    """`part` with its inputs under the model's `names` and in their order.

    One input fits one name, whatever it is called. Raises ModelFileError where number or names do not match.
    """
    if len(part.input_names) == len(names) == 1:
        return ReorderedPart(part, names, [0])
    missing = [name for name in names if name not in part.input_names]
    if missing or len(part.input_names) != len(names):
        given = ", ".join(filter(None, part.input_names)) or "one without a name"
        near = nearest(missing[0], part.input_names) if missing else []
        raise ModelFileError(
            "the data do not match the model's inputs",
            expected=f"{len(names)} input(s): {', '.join(names)}",
            found=f"{len(part.input_names)} input(s): {given}",
            remedy=f"rename {near[0]} to {missing[0]}" if near else "give one array a model input, under its name",
        )
    return ReorderedPart(part, names, [part.input_names.index(name) for name in names])


def misfit(part: Part, preprocess: Preprocess, inputs: Mapping[str, Sequence[int | None]]) -> str | None:
    """Why `part` cannot be fed to a model with `inputs` (name to shape with the batch axis), or None if it can."""
    try:
        shapes = with_inputs(part, list(inputs)).shapes(preprocess)
    except ModelFileError as error:
        return "; ".join(filter(None, [error.problem, error.found and f"found {error.found}"]))
    for name, wanted in inputs.items():
        free = list(wanted)[1:]
        if len(free) != len(shapes[name]) or any(w not in (None, g) for w, g in zip(free, shapes[name], strict=True)):
            return f"the model's input {name} wants {_text(free)}, the data give {_text(shapes[name])}"
    return None


def is_image_array(array: np.ndarray) -> bool:
    """Whether a stored array holds images: uint8 (N, H, W, C) with 1 or 3 channels."""
    return array.dtype == np.uint8 and array.ndim == 4 and array.shape[3] in (1, 3)


def _chunks(indices: Iterable[int], size: int) -> Iterator[list[int]]:
    numbers = [int(i) for i in indices]
    for start in range(0, len(numbers), size):
        yield numbers[start : start + size]


def _text(shape: Sequence[int | None]) -> str:
    return "x".join("?" if n is None else str(n) for n in shape) or "a single number"


def _size(image: np.ndarray) -> str:
    return f"{image.shape[0]}x{image.shape[1]}"
