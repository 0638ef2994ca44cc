"""The inference graph of a Keras 3 model that Keras 2 has no form for: Keras 3 runs it once on symbols, for inference.

What comes out is a graph of TensorFlow 2. From there it goes the way of any graph that others made (graph.foreign):
functions written out, loops as TensorFlow 1 has them, names after the layers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef

from dnndk_prep.errors import DnndkPrepError, ModelFileError, UsageError
from dnndk_prep.graph.foreign import foreign_graph
from dnndk_prep.graph.sources import GraphSource
from dnndk_prep.graph.topology import by_name, node_of, reachable
from dnndk_prep.graph.wanted import Wanted
from dnndk_prep.graph.weights import constant
from dnndk_prep.keras_io.built_limits import limited_calls
from dnndk_prep.keras_io.inference_graph import InferenceGraph
from dnndk_prep.keras_io.limits import check_tensors
from dnndk_prep.keras_io.load import KerasSource
from dnndk_prep.keras_io.predict import Opened, opened
from dnndk_prep.keras_io.through_keras import import_keras
from dnndk_prep.keras_io.tracing import (
    has_loops,
    in_tensorflow1,
    loops_of_tensorflow1,
    names_from_the_start,
    operations_named,
)
from dnndk_prep.keras_io.valid_names import valid_name
from dnndk_prep.said import first_line

TRACE = "a trace of Keras 3"
# How Keras 3 begins to say in which layer an error was raised; what was said comes next, in bold.
CALLED = "Exception encountered when calling"
COLOURS = re.compile(r"\x1b\[\d*m")
# What a trace waits for.
WRITES = ("AssignVariableOp", "AssignAddVariableOp", "AssignSubVariableOp")
ORDERED = ("NoOp", "ReadVariableOp", "Assert", *WRITES)


@dataclass(frozen=True)
class _Captured:
    """What a trace reads from outside: variables by their new nodes, and constants; both by the placeholder's name."""

    names: Mapping[str, str]
    values: Mapping[str, np.ndarray]
    constants: Mapping[str, np.ndarray]


def traced(source: KerasSource, why: DnndkPrepError) -> InferenceGraph:
    """The graph of a Keras 3 model for inference, with its variables and their values.

    why: what Keras 2 lacks. It is told as `traced`, and raised where Keras 3 cannot read the model either.
    The same file gives the same graph. Raises ModelFileError naming the layer that cannot be traced, StageError for
    tensors that are too large, and UnsafeFileError for ops that do more than compute.
    """
    with names_from_the_start():
        try:
            model = opened(source)
        except ModelFileError as error:
            # Of the user's own classes Keras 3 knows more.
            raise (error if isinstance(why, UsageError) else why) from error
        function = _function(model, source, why)
    graph = function.graph
    inputs = [tensor for tensor in graph.inputs if tensor.name not in {inner.name for _, inner in graph.captures}]
    largest = check_tensors(inputs, source.file)
    captured = _captured(graph, model.variable_paths(), source.file)
    input_layers, output_layers = _unique(model.input_layers()), _unique(model.output_layers())
    graph_def = graph.as_graph_def()
    _refuse_changes(graph_def, captured.names, source.file)
    trace = GraphSource(
        source.file,
        TRACE,
        _with_variables(graph_def, captured),
        {layer: tensor.name for layer, tensor in zip(input_layers, inputs, strict=True)},
        {layer: _computed(tensor) for layer, tensor in zip(output_layers, function.outputs, strict=True)},
        of_keras_3=True,
    )
    found = foreign_graph(trace, Wanted())
    return InferenceGraph(
        graph_def=found.graph_def,
        inputs=found.inputs,
        outputs=found.outputs,
        variables={new: captured.values[old] for new, old in found.keys.items()},
        input_layers=tuple(model.old_names.get(name, name) for name in input_layers),
        output_layers=tuple(model.old_names.get(name, name) for name in output_layers),
        notes=found.notes,
        largest=largest,
        traced=_reason(why, source.file),
    )


def _function(model: Opened, source: KerasSource, why: DnndkPrepError) -> Any:
    """The concrete function of the model's call without training."""
    inputs = model.model.inputs or []
    if not inputs:
        raise ModelFileError(
            f"the model in {source.file} has no inputs",
            expected="a Functional or Sequential model",
            found=source.config["class_name"],
            remedy="build it with keras.Input and keras.Model, and save it again",
        )

    specs = [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in inputs]

    def call(*tensors: tf.Tensor) -> list[tf.Tensor]:
        return tf.nest.flatten(model.model(model.arranged(tensors), training=False))

    try:
        with operations_named(), limited_calls([import_keras(source.keras_version).layers.Layer]):
            function = tf.function(call).get_concrete_function(*specs)
            if has_loops(function.graph):
                with loops_of_tensorflow1():
                    function = tf.function(in_tensorflow1(call)).get_concrete_function(*specs)
            return function
    # Whatever a layer, which may be the user's own, raises.
    except Exception as error:
        raise ModelFileError(
            f"Keras 3 cannot trace the model in {source.file}",
            expected="layers that compute with tensors of a free batch",
            found=f"{_last_words(error)} (it is traced, since {_reason(why, source.file)})",
            remedy="mend the layer, or build the model without it",
        ) from error


def _computed(tensor: Any) -> str:
    """The tensor that an output of a function, an Identity, hands on."""
    return tensor.op.inputs[0].name if tensor.op.type == "Identity" else tensor.name


def _reason(why: DnndkPrepError, file: str) -> str:
    """Why Keras 2 cannot hold the model, without the file's name."""
    problem = why.problem.replace(f" in {file}", "").replace(file, "the model")
    return f"{problem}: {why.found}"


def _last_words(error: Exception) -> str:
    """What was raised, and in which layer, without the way there: errors in traced code begin with "in user code:"."""
    lines = [line.strip() for line in COLOURS.sub("", str(error)).splitlines() if line.strip()]
    calls = [i for i, line in enumerate(lines[:-1]) if CALLED in line]
    if calls:
        return f"{lines[calls[-1]].partition(CALLED)[2].strip()} {lines[calls[-1] + 1]}"[:300]
    raised = [line for line in lines if line.partition(":")[0].isidentifier()]
    return (raised or [first_line(error)])[-1][:300]


def _captured(graph: Any, paths: Mapping[int, str], file: str) -> _Captured:
    variables = {id(variable.handle): variable for variable in graph.variables}
    names: dict[str, str] = {}
    values: dict[str, np.ndarray] = {}
    constants: dict[str, np.ndarray] = {}
    taken = {operation.name for operation in graph.get_operations()}
    for outer, inner in graph.captures:
        if outer.dtype != tf.resource:
            constants[inner.op.name] = np.asarray(outer)
            continue
        variable = variables.get(id(outer))
        if variable is None:
            raise ModelFileError(
                f"the model in {file} reads a table or another thing that is no variable",
                expected="layers that read weights alone",
                found=inner.op.name,
                remedy="save the part of the model without this layer",
            )
        name = _free(valid_name(paths.get(id(outer), variable.name.partition(":")[0])), taken)
        names[inner.op.name] = name
        values[name] = variable.numpy()
    return _Captured(names, values, constants)


def _refuse_changes(graph_def: GraphDef, names: Mapping[str, str], file: str) -> None:
    """Raises ModelFileError where a layer reads a variable (`names`, by its placeholder) that it wrote before."""
    writes = [node for node in graph_def.node if node.op in WRITES]
    nodes = by_name(graph_def) if writes else {}
    for write in writes:
        handle = node_of(write.input[0])
        reads = [node for node in graph_def.node if node.op == "ReadVariableOp" and node_of(node.input[0]) == handle]
        read = next((node for node in reads if write.name in reachable(nodes, [node.name])), None)
        if read is not None:
            raise ModelFileError(
                f"a layer of the model in {file} writes its variable {names.get(handle, handle)}, and reads it again",
                expected="variables that inference leaves as they are: a frozen graph holds one value of each",
                found=f"{read.name} reads what {write.name} ({write.op}) wrote",
                remedy="let the layer write while it trains alone (if training: ...), and save the model again",
            )


def _with_variables(graph_def: GraphDef, captured: _Captured) -> GraphDef:
    """The graph with variables and constants where it had placeholders for what it captured.

    A trace orders what reads and writes variables by control inputs, of which inference needs none: it reads nothing
    that it wrote. Those in loops stay.
    """
    ordered = {node.name for node in graph_def.node if node.op in ORDERED}
    result = GraphDef(versions=graph_def.versions, library=graph_def.library)
    shapes = {name: value.shape for name, value in captured.values.items()}
    for node in graph_def.node:
        if node.name in captured.constants:
            result.node.append(constant(node.name, captured.constants[node.name]))
            continue
        new = result.node.add()
        new.CopyFrom(node)
        del new.input[:]
        for name in node.input:
            if not (name.startswith("^") and node_of(name) in ordered):
                new.input.append(captured.names.get(node_of(name), name))
        if node.name in captured.names:
            name = captured.names[node.name]
            new.Clear()
            new.name, new.op = name, "VarHandleOp"
            new.attr["dtype"].type = tf.as_dtype(captured.values[name].dtype).as_datatype_enum
            new.attr["shape"].shape.CopyFrom(tf.TensorShape(shapes[name]).as_proto())
            new.attr["shared_name"].s = name.encode()
            new.attr["container"].s = b""
    return result


def _free(name: str, taken: set[str]) -> str:
    candidate, number = name, 0
    while candidate in taken:
        number += 1
        candidate = f"{name}_{number}"
    taken.add(candidate)
    return candidate


def _unique(names: Sequence[str]) -> list[str]:
    """The names with a number behind each that comes again, as Keras 2 has it: two outputs of one layer."""
    taken: set[str] = set()
    return [_free(name, taken) for name in names]
