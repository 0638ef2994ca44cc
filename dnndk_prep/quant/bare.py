"""Quantizes a graph file with batches from an .npz, and writes the files: all without a configuration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tensorflow.core.framework.graph_pb2 import GraphDef

from dnndk_prep.errors import ModelFileError, UsageError, nearest
from dnndk_prep.graph.freeze import VARIABLES
from dnndk_prep.graph.readers import for_reader
from dnndk_prep.graph.safety import refuse_unsafe
from dnndk_prep.graph.sources import read_source
from dnndk_prep.graph.topology import by_name
from dnndk_prep.quant.best.best import best
from dnndk_prep.quant.calibration import Batch
from dnndk_prep.quant.calibration_data import BatchFile, require_meaning
from dnndk_prep.quant.files import Written, write
from dnndk_prep.quant.progress import bar
from dnndk_prep.quant.settings import Settings
from dnndk_prep.quant.vai_q_tf1.constants import RELEASE
from dnndk_prep.quant.vai_q_tf1.prepare import fed_for
from dnndk_prep.quant.vendor import Plan, Quantization, plan, quantize


def quantize_file(
    graph: Path,
    inputs: Sequence[str],
    outputs: Sequence[str],
    calibration: Path,
    out: Path,
    settings: Settings,
    mode: str = "vendor",
) -> tuple[Quantization, Written]:
    """Write the files of the quantization into `out`, which is made.

    Raises UnsafeFileError, ModelFileError or StageError for a graph that may not run, or cannot be quantized, and for
    calibration data that mean nothing; UsageError for names that are not there and a folder that cannot be written.
    """
    _require_distinct(inputs, outputs)
    made, batches, first, notes = _planned(graph, inputs, outputs, calibration, settings, mode)
    with _writing(out):
        # Before what takes long.
        out.mkdir(parents=True, exist_ok=True)
    if mode == "best":
        quantized = best(_read(graph, inputs, outputs), outputs, made, list(batches)).quantization
    else:
        quantized = quantize(made, bar(batches, "calibration", len(batches)))
    with _writing(out):
        written = write(out, quantized, batches, first)
    return quantized, Written(written.errors, written.artifact, written.dumped, (*notes, *written.warnings))


def _planned(
    graph: Path, inputs: Sequence[str], outputs: Sequence[str], calibration: Path, settings: Settings, mode: str
) -> tuple[Plan, BatchFile, Batch, list[str]]:
    """The plan, the batches, the first of them, and notes; the graph that was read would be more weights in memory."""
    graph_def = _read(graph, inputs, outputs)
    batches = BatchFile(calibration, fed_for(by_name(graph_def), inputs))
    first, notes = require_meaning(iter(batches))
    shapes = {name: [None, *array.shape[1:]] for name, array in first.items()}
    return plan(graph_def, inputs, outputs, shapes, settings, mode == "vendor"), batches, first, notes


def _read(graph: Path, inputs: Sequence[str], outputs: Sequence[str]) -> GraphDef:
    """The graph at the level of the vendor's TensorFlow: what that does not read, its tool does not quantize."""
    source = read_source(graph)
    _require_names([*inputs, *outputs], list(by_name(source.graph_def)), source.file)
    refuse_unsafe(source.graph_def, source.file)
    _refuse_variables(source.file, [node.name for node in source.graph_def.node if node.op in VARIABLES])
    return for_reader(source.graph_def, RELEASE, frozenset(node.name for node in source.graph_def.node))


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"{error.filename or out} cannot be written",
            expected="a folder for the files, and room on the disk",
            found=error.strerror or type(error).__name__,
            remedy="name another folder",
            code="K2D-0031",
        ) from error


def _require_distinct(inputs: Sequence[str], outputs: Sequence[str]) -> None:
    for flag, names in (("--inputs", inputs), ("--outputs", outputs)):
        if not names:
            raise UsageError(f"{flag} names no node", expected=f"{flag} NODE,NODE", found="nothing")
    twice = next((name for i, name in enumerate(inputs) if name in inputs[:i]), None)
    if twice is not None:
        raise UsageError(f"--inputs names {twice} twice", expected="each node once", found=", ".join(inputs))


def _require_names(names: Sequence[str], known: Sequence[str], file: str) -> None:
    for name in names:
        if name not in known:
            near = nearest(name.partition(":")[0], known)
            raise UsageError(
                f"the graph in {file} has no node {name!r}",
                expected="names of nodes, without :0",
                found=name,
                remedy=f"nearest names: {', '.join(near) or 'none alike'}; all of them: dnndk-prep inspect {file}",
            )


def _refuse_variables(file: str, variables: Sequence[str]) -> None:
    if variables:
        raise ModelFileError(
            f"the graph in {file} has variables, which have no values without their checkpoint",
            expected="a frozen graph",
            found=f"{len(variables)} variables: {', '.join(variables[:3])}",
            remedy="freeze it: model.path and model.checkpoint in pipeline.yaml, then run --to freeze_graph",
        )
