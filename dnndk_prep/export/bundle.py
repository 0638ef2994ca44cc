"""What the bundles of all families share: calibration files, what the folder is checked by, the quantizers' words."""

from __future__ import annotations

import re
import runpy
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from dnndk_prep import repeatable, templates
from dnndk_prep.data.calibration import LIST_FILE
from dnndk_prep.data.calibration_files import ARRAYS, IMAGES, MODULE
from dnndk_prep.dpu.targets import Board, Toolchain
from dnndk_prep.errors import StageError
from dnndk_prep.graph.artifact import GraphArtifact, TensorSpec
from dnndk_prep.graph.quantizer_forms import quantizer_forms
from dnndk_prep.graph.readers import for_reader

GRAPH_FILE = "optimized_graph.pb"
CHECK, CHECK_OUTPUTS = "check.py", "check_outputs.npz"
# Outputs of large images (segmentation) would double the folder: so many values of each are stored, 8 MB in float32.
MAX_CHECK_VALUES = 2_000_000


@dataclass(frozen=True)
class BundleSpec:
    """One vendor's bundle: `graph` is at the toolchain's level, `calib_dir` is what calib_input wrote."""

    net_name: str
    graph: GraphArtifact
    toolchain: Toolchain
    board: Board
    calib_dir: Path
    # Batches of `batch_size` samples that the quantizer asks input_fn for.
    calib_iter: int
    batch_size: int
    # What the graph gives for the first calibration batch, in the order of its outputs.
    expected: Sequence[np.ndarray]
    # Shapes of one calibration batch by input name: they stand in for sizes that the graph leaves open.
    feed_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    # Input -> the node at which the quantizer begins in its place, behind a rescaling that stays in float.
    begin: Mapping[str, str] = field(default_factory=dict)
    # The DCF of the user's own design, which goes into the bundle.
    dcf: Path | None = None


def net_name(stem: str) -> str:
    """A name for the compiled network, which becomes a C symbol: letters, digits, underscores, no digit in front."""
    name = re.sub(r"[^A-Za-z0-9_]+", "_", stem).strip("_") or "model"
    return f"net_{name}" if name[0].isdigit() else name


def quantizer_shape(spec: TensorSpec, feed_shape: tuple[int, ...] | None = None) -> str:
    """The input's shape in the words of `--input_shapes`: four numbers, `?` for the batch.

    The quantizer takes four dimensions and no others; inputs of fewer get ones after the batch
    (vai_q_tensorflow 3.5, `--input_shapes`). Sizes that the graph leaves open come from `feed_shape`.
    Raises StageError for more than four dimensions, and for an open size that no feed tells.
    """
    sizes = list(spec.shape[1:])
    if len(sizes) > 3:
        raise StageError(
            f"input {spec.name!r} has {len(spec.shape)} dimensions",
            expected="batch, height, width, channels, or fewer: the quantizers take 4-D shapes",
            found=str(spec.shape),
            remedy="reshape outside of the model, or split the input",
            code="K2D-0015",
        )
    if feed_shape is not None and len(feed_shape) == len(spec.shape):
        sizes = [known if size is None else size for size, known in zip(sizes, feed_shape[1:], strict=True)]
    if None in sizes:
        raise StageError(
            f"input {spec.name!r} leaves sizes open besides the batch",
            expected="fixed height, width and channels, which the quantizer needs as numbers",
            found=str(spec.shape),
            remedy="build the model with a fixed input shape",
            code="K2D-0016",
        )
    return ",".join(["?", *["1"] * (3 - len(sizes)), *(str(size) for size in sizes)])


def calibration_batch(folder: Path, iteration: int) -> dict[str, np.ndarray]:
    """One batch from the bundle's own input_fn.py, as the quantizer would get it: arrays by input name."""
    feeds = runpy.run_path(str(folder / MODULE))["calib_input"](iteration)
    return {name: np.asarray(value) for name, value in feeds.items()}


def bundle_graph(graph: GraphArtifact, toolchain: Toolchain, keep: Iterable[str] = ()) -> GraphArtifact:
    """The graph as the toolchain's quantizer reads it rightly; the nodes in `keep` have their names, as its ends have.

    Raises StageError where the toolchain's TensorFlow has no form for a node.
    """
    names = frozenset([*graph.input_names, *graph.output_names, *keep])
    at_level = for_reader(graph.graph_def, toolchain.reader, names)
    graph_def = quantizer_forms(at_level, toolchain.family, toolchain.reader, names)
    return replace(graph, graph_def=graph_def, reader=toolchain.reader)


def calibration_count(folder: Path) -> int:
    """How many samples `folder` holds: the lines of its list of images, or the rows of its arrays."""
    listed = folder / LIST_FILE
    if (folder / IMAGES).is_dir():
        return sum(1 for line in listed.read_text(encoding="utf-8").splitlines() if line.strip())
    with np.load(folder / ARRAYS) as arrays:
        return min(len(arrays[name]) for name in arrays.files)


def write_graph_bundle(folder: Path, spec: BundleSpec, scripts: tuple[str, ...], values: Mapping[str, Any]) -> None:
    """Write a TensorFlow 1 bundle into `folder`, which is made: the graph, and all of `write_files`.

    The templates lie in the folder of the toolchain's family. Raises StageError for an input whose shape the quantizer
    cannot be told.
    """
    graph = spec.graph
    shapes = [quantizer_shape(item, spec.feed_shapes.get(item.name)) for item in graph.inputs]
    of_graph = {
        "inputs": graph.inputs,
        "outputs": graph.outputs,
        "input_nodes": ",".join(spec.begin.get(name, name) for name in graph.input_names),
        "begin": spec.begin,
        "output_nodes": ",".join(graph.output_names),
        "input_shapes": ":".join(shapes),
    }
    folder.mkdir(parents=True)
    graph.save(folder, GRAPH_FILE)
    write_files(folder, spec, spec.toolchain.family, GRAPH_FILE, scripts, {**of_graph, **values})


def write_files(
    folder: Path,
    spec: BundleSpec,
    family: str,
    model_file: str,
    scripts: tuple[str, ...],
    values: Mapping[str, Any],
) -> None:
    """Write what lies beside the model: calibration files, README.md, check.py with outputs, executable `scripts`.

    `values` are those of the templates of `family` beside the common ones.
    """
    copied = _copy_calibration(spec.calib_dir, folder)
    if spec.dcf is not None and spec.toolchain.dcf is not None:
        shutil.copyfile(spec.dcf, folder / spec.toolchain.dcf)
        copied.append(spec.toolchain.dcf)
    _write_outputs(folder / CHECK_OUTPUTS, spec)
    common = _values(spec) | {"model_file": model_file, "files": [model_file, CHECK, CHECK_OUTPUTS, *copied]}
    for name in (*scripts, CHECK, "README.md"):
        text = templates.render(f"{family}/{name}.j2", {"script": name, **common, **values})
        (folder / name).write_text(text, encoding="utf-8")
    for name in scripts:
        (folder / name).chmod(0o755)


def _write_outputs(path: Path, spec: BundleSpec) -> None:
    """The outputs for the first examples of the first calibration batch, as many as MAX_CHECK_VALUES holds."""
    arrays = {}
    for number, value in enumerate(spec.expected):
        is_batch = value.ndim > 0 and len(value) == spec.batch_size
        rows = max(1, MAX_CHECK_VALUES // max(1, value[0].size)) if is_batch else None
        arrays[f"output_{number}"] = value[:rows] if rows else value
    repeatable.save_npz(path, arrays)


def _copy_calibration(source: Path, folder: Path) -> list[str]:
    """Copy what calib_input wrote; gives the names of the files. Inputs that are no images have no image folder."""
    copied = []
    for name in (MODULE, LIST_FILE, ARRAYS):
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
            copied.append(name)
    if MODULE not in copied:
        raise StageError(
            f"there is no {MODULE} among the calibration data",
            expected=f"{MODULE} beside {ARRAYS}",
            found=", ".join(copied) or "neither",
            remedy="run the pipeline again with --from calib_input --force",
            code="K2D-0011",
        )
    if (source / IMAGES).is_dir():
        shutil.copytree(source / IMAGES, folder / IMAGES)
    return copied


def _values(spec: BundleSpec) -> dict[str, Any]:
    return {
        "net": spec.net_name,
        "board": spec.board,
        "toolchain": spec.toolchain,
        "has_dcf": spec.dcf is not None,
        "has_images": (spec.calib_dir / IMAGES).is_dir(),
        "calib_iter": spec.calib_iter,
        "batch_size": spec.batch_size,
    }
