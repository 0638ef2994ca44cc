"""What goes into and out of a graph that others made: as the user says, as its signature says, or as it is found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef

from dnndk_prep.errors import ModelFileError, UsageError
from dnndk_prep.graph.ends import find_constants, find_inputs, find_outputs, without_flags
from dnndk_prep.graph.freeze import prune
from dnndk_prep.graph.kinds import SAVED_MODEL
from dnndk_prep.graph.names import Found
from dnndk_prep.graph.sources import GraphSource
from dnndk_prep.graph.topology import by_name, node_of, require

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Wanted:
    """What the user said: inputs, with a shape where the graph has none, outputs, and values of placeholders."""

    inputs: Mapping[str, Shape | None] = field(default_factory=dict)
    outputs: Sequence[str] = ()
    constants: Mapping[str, bool | int | float] = field(default_factory=dict)


def chosen_ends(source: GraphSource, wanted: Wanted) -> tuple[list[Found], list[Found]]:
    """The inputs and outputs with the reason for each: the named ones, the signature's, or those that are found.

    Training's flags are no inputs, though a signature may list them. Raises StageError for names that are not there.
    """
    nodes = by_name(source.graph_def)
    _require_signature(source, wanted)
    if wanted.inputs:
        names = [source.inputs.get(name, name) for name in wanted.inputs]
        inputs = [Found(name, "named in model.inputs") for name in names]
    elif source.inputs:
        told = without_flags(source.graph_def, source.inputs)
        inputs = [Found(name, f"the signature's input {key!r}") for key, name in told.items()]
    else:
        inputs = find_inputs(source.graph_def)
    require([node_of(found.name) for found in inputs], nodes, "node")
    if wanted.outputs:
        names = [source.outputs.get(name, name) for name in wanted.outputs]
        outputs = [Found(name, "named in model.outputs") for name in names]
    elif source.outputs:
        outputs = [Found(name, f"the signature's output {key!r}") for key, name in source.outputs.items()]
    else:
        outputs = find_outputs(source.graph_def, [found.name for found in inputs])
    require([node_of(found.name) for found in outputs], nodes, "node")
    if not (wanted.inputs or source.inputs):
        inputs = _needed(source.graph_def, inputs, outputs)
    return inputs, outputs


def _require_signature(source: GraphSource, wanted: Wanted) -> None:
    """Raises UsageError where several signatures could be meant, and ModelFileError where all is in functions."""
    if source.outputs or wanted.outputs:
        return
    # What starts a SavedModel of TensorFlow 2 is written as a signature without inputs.
    told = {name: " ".join(words) for name, words in source.signatures.items() if words[0] != "->"}
    if told:
        raise UsageError(
            f"{source.file} has {len(told)} signatures",
            expected="one: model.signature, or the names of its tensors: model.inputs, model.outputs",
            found="; ".join(f"{name}: {words}" for name, words in told.items())[:300],
            remedy=f"name it: model.signature: {next(iter(told))}",
        )
    fed = [node for node in source.graph_def.node if node.op == "Placeholder"]
    if source.kind == SAVED_MODEL and all(node.attr["dtype"].type == tf.string.as_datatype_enum for node in fed):
        raise ModelFileError(
            f"{source.file} has no signature, and nothing to feed outside of its functions",
            expected="a SavedModel with signatures",
            found=f"{len(fed)} placeholders for names of files",
            remedy="save it with what is to be computed: tf.saved_model.save(model, folder, signatures=...)",
        )


def chosen_constants(
    graph_def: GraphDef, wanted: Wanted, inputs: Sequence[Found]
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The placeholders that stand still in inference, and why: those that the user named, and training's flags.

    Raises UsageError for a named node that is no placeholder.
    """
    nodes = by_name(graph_def)
    require(wanted.constants, nodes, "node")
    found = find_constants(graph_def, [found.name for found in inputs])
    values = {name: value for name, (value, _) in found.items()}
    reasons = {name: reason for name, (_, reason) in found.items()}
    for name, number in wanted.constants.items():
        if nodes[name].op not in ("Placeholder", "PlaceholderWithDefault"):
            raise UsageError(
                f"model.constants: {name} is no placeholder",
                expected="a Placeholder",
                found=nodes[name].op,
                remedy="name the placeholder that it depends on: `dnndk-prep inspect FILE` lists them",
                code="K2D-0001",
            )
        dtype = tf.as_dtype(nodes[name].attr["dtype"].type)
        values[name], reasons[name] = np.array(number, dtype.as_numpy_dtype), "named in model.constants"
    return values, reasons


def _needed(graph_def: GraphDef, inputs: Sequence[Found], outputs: Sequence[Found]) -> list[Found]:
    """The inputs that the outputs need, and what else the outputs cannot be computed without."""
    part = by_name(prune(graph_def, [node_of(found.name) for found in outputs]))
    chosen = [found for found in inputs if found.name in part]
    known = {found.name for found in chosen} | set(find_constants(graph_def))
    others = [node.name for node in part.values() if node.op == "Placeholder" and node.name not in known]
    return [*chosen, *(Found(name, "a placeholder that the outputs need") for name in others)]
