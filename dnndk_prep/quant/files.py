"""The files of a quantization: positions, both graphs, the error of each layer, and the whole numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

from dnndk_prep.errors import StageError
from dnndk_prep.graph.artifact import GraphArtifact, TensorSpec
from dnndk_prep.graph.fix_neurons import without_fix_neurons
from dnndk_prep.graph.readers import for_reader
from dnndk_prep.graph.run import imported
from dnndk_prep.graph.topology import node_of
from dnndk_prep.graph.weights import pieces
from dnndk_prep.quant.calibration import Batch
from dnndk_prep.quant.dump import dump
from dnndk_prep.quant.fixed import eval_graph, readers
from dnndk_prep.quant.layer_error import LayerError, measure, write_csv
from dnndk_prep.quant.network import Node, by_name, to_graph_def
from dnndk_prep.quant.vendor import Quantization

POSITIONS, LAYER_ERROR, DUMP = "positions.json", "layer_error.csv", "dump"
EVAL_MODEL, STOCK_MODEL = "quantize_eval_model.pb", "quantize_eval_model_stock.pb"
# The oldest TensorFlow that is to read the graph with stock ops, and others if it cannot.
READERS = ("1.12", "1.15")
# What constant folding appends to a name; the number is arbitrary.
FOLDED = re.compile(r"/_\d+__cf__\d+")
# Examples over which the errors of the layers are measured: fewer where they have more input values than this together.
EXAMPLES, INPUT_VALUES = 16, 1 << 20


@dataclass(frozen=True)
class Written:
    """What was written, and what the user should know of it."""

    errors: Mapping[str, LayerError]
    artifact: GraphArtifact
    dumped: int
    warnings: tuple[str, ...]


def plain_name(name: str) -> str:
    """The name without what constant folding appends."""
    return FOLDED.sub("", name)


def write(folder: Path, made: Quantization, batches: Sequence[Batch] | Iterable[Batch], first: Batch) -> Written:
    """Write all files of the quantization `made` into `folder`, which is there.

    `batches` are those of the calibration, as many as there are to be measured on; `first` is the one to dump.
    """
    nodes, outputs = made.nodes, made.plan.prepared.outputs
    each = sum(array[0].size for array in first.values() if array.ndim)
    errors = measure(nodes, outputs, batches, min(EXAMPLES, max(1, INPUT_VALUES // max(1, each))))
    (folder / POSITIONS).write_text(json.dumps(_facts(made, nodes, errors), indent=1) + "\n", encoding="utf-8")
    write_csv(folder / LAYER_ERROR, errors, {item.name: plain_name(item.name) for item in nodes})
    artifact, warnings = write_graphs(folder, made)
    dumped = dump(folder / DUMP, nodes, outputs, first)
    wide = [item.name for item in made.plan.nodes if "bit_width" in item.attrs and item.attrs["bit_width"].i > 8]
    if wide:
        warnings.append(f"{DUMP}/ holds the lowest 8 bits of wider numbers, as vai_q_tensorflow writes them: {wide[0]}")
    return Written(errors, artifact, dumped, tuple(warnings))


def write_graphs(folder: Path, made: Quantization) -> tuple[GraphArtifact, list[str]]:
    """Write the graph with FixNeurons, the one with stock ops and its graph.json; the latter two, and warnings."""
    nodes = made.nodes
    with (folder / EVAL_MODEL).open("wb") as file:
        file.writelines(pieces(eval_graph(nodes)))
    artifact, warnings = _stock(made, nodes)
    artifact.save(folder, STOCK_MODEL)
    return artifact, warnings


def _facts(made: Quantization, nodes: Sequence[Node], errors: Mapping[str, LayerError]) -> dict[str, Any]:
    prepared = made.plan.prepared
    return {
        "tool": "vai_q_tensorflow",
        "inputs": list(prepared.inputs),
        "outputs": list(prepared.outputs),
        "settings": asdict(made.plan.settings),
        "fix_neurons": [_fix_facts(made, nodes, name, errors.get(name)) for name in made.seen],
        "changes": [asdict(change) for change in made.changes],
        "notes": list(made.notes),
        **({} if made.search is None else {"best": made.search}),
    }


def _fix_facts(made: Quantization, nodes: Sequence[Node], name: str, error: LayerError | None) -> dict[str, Any]:
    named = by_name(nodes)
    fix, seen = named[name], made.seen[name]
    producer, _, kind = name.rpartition("/")
    has_run = bool(seen.counts)
    return {
        "node": plain_name(producer),
        "kind": kind,
        "name": name,
        "op": named[producer].op,
        **{key: fix.attrs[key].i for key in ("mode", "method", "bit_width")},
        "position": made.positions[name],
        "position_calibrated": seen.position,
        "batch_positions": {str(position): count for position, count in sorted(seen.counts.items())},
        "consumers": list(dict.fromkeys(map(plain_name, readers(nodes, name)))),
        "range": [seen.low, seen.high] if has_run else None,
        "clipped": error.saturation if error is not None else None,
    }


def _stock(made: Quantization, nodes: Sequence[Node]) -> tuple[GraphArtifact, list[str]]:
    """The graph with stock ops at the level of the oldest reader that takes it."""
    prepared = made.plan.prepared
    plain = without_fix_neurons(to_graph_def(nodes), EVAL_MODEL)
    keep = frozenset([*prepared.fed, *made.plan.ends])
    graph_def, reader, warnings = plain, tf.__version__, []
    for level in READERS:
        try:
            graph_def, reader = for_reader(plain, level, keep), level
            break
        except StageError as error:
            warnings.append(f"{STOCK_MODEL} cannot be read by TensorFlow {level}: {error.problem}")
    graph = imported(graph_def)
    inputs = tuple(_spec(graph, name) for name in prepared.fed)
    outputs = tuple(_spec(graph, name) for name in made.plan.ends)
    return GraphArtifact(graph_def, inputs, outputs, reader), warnings


def _spec(graph: tf.Graph, name: str) -> TensorSpec:
    tensor = graph.get_tensor_by_name(f"{node_of(name)}:0")
    shape = () if tensor.shape.rank is None else tuple(tensor.shape.as_list())
    return TensorSpec(name, shape, tensor.dtype.base_dtype.name)
