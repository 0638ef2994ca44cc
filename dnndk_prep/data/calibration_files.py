"""Writes what the quantizers are fed: images, their list, the arrays, and the module `input_fn.py` that reads them."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
import numpy as np

from dnndk_prep import repeatable
from dnndk_prep.data.calibration import FEW, LIST_FILE, CalibrationSet, from_dataset, list_text
from dnndk_prep.data.images import write_png
from dnndk_prep.data.parts import Part, ReorderedPart, misfit, with_inputs
from dnndk_prep.data.preprocess import Preprocess
from dnndk_prep.data.sources.fashion_mnist import open_sample
from dnndk_prep.errors import ModelFileError, UsageError

IMAGES, ARRAYS, MODULE = "images", "calib.npz", "input_fn.py"
_CHUNK = 64


@dataclass(frozen=True)
class ChannelFacts:
    """The range of one channel of one input over all calibration examples."""

    input: str
    channel: int
    min: float
    mean: float
    max: float


@dataclass(frozen=True)
class CalibrationFacts:
    """What was written: examples, full batches they make, the values' ranges, and what the user should know."""

    count: int
    batch_size: int
    iterations: int
    is_image: bool
    channels: tuple[ChannelFacts, ...]
    warnings: tuple[str, ...]


def write_calibration(
    out: Path,
    calibration: CalibrationSet,
    preprocess: Preprocess,
    placeholders: Mapping[str, Sequence[int | None]],
    batch_size: int,
) -> CalibrationFacts:
    """Write images/ and calib_list.txt (if the one input is an image), calib.npz and input_fn.py into `out`.

    `placeholders` maps each Placeholder of the graph to its shape with the batch axis, in the model's order.
    The arrays, and what input_fn.py returns, are bit for bit those of `Part.batches` with `preprocess`.
    Raises ModelFileError if the data do not fit the placeholders, UsageError if the batch size cannot work.
    """
    reason = misfit(calibration.part, preprocess, placeholders)
    if reason is not None:
        raise ModelFileError(
            "the calibration data do not fit the model",
            expected="; ".join(f"{name}: {list(shape)}" for name, shape in placeholders.items()),
            found=reason,
            remedy="set preprocess.resize and channels for images, or calibration.path to an .npz for other inputs",
            code="K2D-0011",
        )
    _check_batch_size(batch_size, len(calibration), placeholders)
    part = with_inputs(calibration.part, list(placeholders))
    if part.is_image:
        _write_images(out, out / IMAGES, calibration, preprocess)
    channels = _write_arrays(out / ARRAYS, part, calibration.indices, preprocess)
    shape = part.shapes(preprocess)[part.input_names[0]]
    (out / MODULE).write_text(_module(part, shape, preprocess, batch_size), encoding="utf-8")
    warnings = [*calibration.warnings, *_range_warnings(channels, preprocess, part.is_image)]
    iterations = len(calibration) // batch_size
    return CalibrationFacts(len(calibration), batch_size, iterations, part.is_image, tuple(channels), tuple(warnings))


def _check_batch_size(batch_size: int, count: int, placeholders: Mapping[str, Sequence[int | None]]) -> None:
    if batch_size > count:
        raise UsageError(
            "calibration.batch_size is larger than the number of calibration examples",
            expected=f"at most {count}",
            found=str(batch_size),
            remedy="lower calibration.batch_size, or raise calibration.count",
        )
    for name, shape in placeholders.items():
        if shape[0] not in (None, batch_size):
            raise UsageError(
                f"the model's input {name} has a fixed batch size",
                expected=f"calibration.batch_size: {shape[0]}",
                found=str(batch_size),
                remedy="set calibration.batch_size to it",
            )


def write_shipped_images(out: Path) -> None:
    """Write the images and the list of calib_data/ into `out`: 100 of the sample's training part, as they are."""
    calibration = from_dataset(open_sample(), FEW, seed=0)
    out.mkdir(parents=True, exist_ok=True)
    _write_images(out, out, calibration, Preprocess())


def _write_images(folder: Path, images: Path, calibration: CalibrationSet, preprocess: Preprocess) -> None:
    images.mkdir(exist_ok=True)
    names = [f"{position:05d}.png" for position in range(len(calibration))]
    for name, index in zip(names, calibration.indices, strict=True):
        write_png(images / name, calibration.part.pixels(preprocess, int(index)))
    labels = [calibration.label(position) for position in range(len(calibration))]
    (folder / LIST_FILE).write_text(list_text(names, labels), encoding="utf-8")


def _write_arrays(path: Path, part: Part, indices: np.ndarray, preprocess: Preprocess) -> list[ChannelFacts]:
    """Stream each input's examples into the .npz: they may be more than memory holds."""
    facts: list[ChannelFacts] = []
    with zipfile.ZipFile(path, "w") as archive:
        for which, (name, shape) in enumerate(part.shapes(preprocess).items()):
            batches = ReorderedPart(part, [name], [which]).batches(preprocess, _CHUNK, indices)
            ranges = _Ranges(name, shape)
            _write_array(archive, name, (len(indices), *shape), ranges.watch(batch for (batch,) in batches))
            facts += ranges.facts()
    return facts


def _write_array(archive: zipfile.ZipFile, name: str, shape: tuple[int, ...], batches: Iterable[np.ndarray]) -> None:
    with archive.open(repeatable.member(f"{name}.npy"), "w", force_zip64=True) as stream:
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, header)
        for batch in batches:
            stream.write(np.ascontiguousarray(batch, "<f4").tobytes())


class _Ranges:
    """Least, mean and greatest value of each channel (of images) or of the whole input, as batches pass by."""

    def __init__(self, name: str, shape: tuple[int, ...]) -> None:
        self._name, self._channels = name, shape[-1] if len(shape) == 3 else 1
        self._min, self._max = np.full(self._channels, np.inf), np.full(self._channels, -np.inf)
        self._sum, self._count = np.zeros(self._channels), 0

    def watch(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        for batch in batches:
            flat = batch.reshape(-1, self._channels)
            self._min = np.minimum(self._min, flat.min(axis=0))
            self._max = np.maximum(self._max, flat.max(axis=0))
            self._sum += flat.sum(axis=0, dtype=np.float64)
            self._count += len(flat)
            yield batch

    def facts(self) -> list[ChannelFacts]:
        rows = zip(self._min, self._sum / self._count, self._max, strict=True)
        return [ChannelFacts(self._name, i, *(float(number) for number in row)) for i, row in enumerate(rows)]


def _range_warnings(facts: Sequence[ChannelFacts], preprocess: Preprocess, is_image: bool) -> list[str]:
    """Values no model was trained on: the usual causes are no preprocessing and the same one done twice."""
    if all(fact.min == fact.max for fact in facts):
        return ["all calibration values are equal; positions chosen from them mean nothing"]
    if not is_image:
        return []
    spread = max(fact.max for fact in facts) - min(fact.min for fact in facts)
    if spread < 0.05:
        return [f"the calibration values span {spread:.3g} only: are the images normalised twice?"]
    if preprocess.is_identity:
        return ["the model is fed raw 0..255: if it was trained on other values, set preprocess.scale, mean and std"]
    return []


def _module(part: Part, shape: tuple[int, ...], preprocess: Preprocess, batch_size: int) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,
    )
    # Whatever the user wrote stands in the module as a Python literal, never as code; ASCII, as no coding is declared.
    environment.filters["literal"] = ascii
    return environment.get_template("input_fn.py.j2").render(
        images=part.is_image,
        placeholders=list(part.input_names),
        shape=tuple(int(size) for size in shape),
        preprocess=preprocess,
        batch_size=batch_size,
    )
