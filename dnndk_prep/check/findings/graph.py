"""Findings about the graph as a whole: its inputs and outputs, types, names and layout."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from dnndk_prep.check.findings.scene import ERROR, INFO, WARNING, Finding, Scene
from dnndk_prep.check.network import INPUTS
from dnndk_prep.check.windows import CHANNELS_FIRST

VARIABLES = ("Variable", "VariableV2", "VarHandleOp", "ReadVariableOp", "AutoReloadVariable")


def float64(scene: Scene) -> Iterator[Finding]:
    doubles = [op.name for op in scene.network.ops.values() if op.dtype == "float64"]
    if doubles:
        yield Finding(
            "float64",
            ERROR,
            doubles[0],
            f"{len(doubles)} nodes compute in float64: the quantizer quantizes none of them and reports success",
            "convert the model to float32",
        )


def leftover_placeholder(scene: Scene) -> Iterator[Finding]:
    for op in scene.ops("Placeholder", "PlaceholderV2"):
        if op.name not in scene.network.inputs:
            yield Finding(
                "leftover_placeholder",
                ERROR,
                op.name,
                "a Placeholder that is no input: the quantizer stops with 'len(inputs) != len(input_nodes)'",
                "optimize the graph with its inputs and outputs named: what no output needs goes",
            )


def integer_concat(scene: Scene) -> Iterator[Finding]:
    for op in scene.ops("Concat", "ConcatV2"):
        if op.dtype.startswith("int"):
            yield Finding(
                "integer_concat",
                ERROR,
                op.name,
                "a concat of integers: the quantizer puts a rounding before it and stops, 'was passed int32 "
                "incompatible with expected float'",
                "a fixed batch, so that shapes are constants; Dense on flat inputs",
            )


def same_file(scene: Scene) -> Iterator[Finding]:
    files = Counter(name.replace("/", "_") for name in scene.network.ops)
    for name in scene.network.ops:
        if files[name.replace("/", "_")] > 1:
            yield Finding(
                "same_file",
                ERROR,
                name,
                f"another node's name is {name.replace('/', '_')}, too, once / is _: the quantizer keeps both in one "
                "file, and stops",
                "rename the layer; nodes between layers get other names where the graph is optimized",
            )


def channels_first(scene: Scene) -> Iterator[Finding]:
    found = [op.name for op in scene.network.ops.values() if op.attrs.get("data_format") in CHANNELS_FIRST]
    if found:
        yield Finding(
            "channels_first",
            ERROR,
            found[0],
            f"{len(found)} nodes have the channels first: the quantizer's CPU kernels refuse, or it aborts",
            "build the model with data_format='channels_last'",
        )


def extra_output(scene: Scene) -> Iterator[Finding]:
    for one in scene.of_kind("unread"):
        op = scene.network.ops[one.main]
        if op.op not in (*INPUTS, "NoOp", "Const") and not scene.network.readers[op.name]:
            yield Finding(
                "extra_output",
                INFO,
                op.name,
                "nothing reads it, and it is no output: the quantizer cuts it off",
                "name it among the outputs if it is one",
            )


def variables(scene: Scene) -> Iterator[Finding]:
    found = [op.name for op in scene.network.ops.values() if op.op in VARIABLES]
    if found:
        yield Finding(
            "variables",
            ERROR,
            found[0],
            f"{len(found)} variables are not frozen: the quantizer stops with 'Error while reading resource variable'",
            "freeze the graph whole: freeze_graph.keep_vars: []",
        )


def fixed_batch(scene: Scene) -> Iterator[Finding]:
    for name in scene.network.inputs:
        shape = scene.network.shape(name)
        if shape and shape[0] is not None:
            yield Finding(
                "fixed_batch",
                INFO,
                name,
                f"it takes {shape[0]} images at a time: the quantizer stops with 'Cannot feed value of shape' where "
                "input_fn gives another number",
                f"calibration.batch_size: {shape[0]}; any number without graph.batch",
            )


def quantized(scene: Scene) -> Iterator[Finding]:
    for op in scene.ops("FixNeuron"):
        yield Finding(
            "quantized", ERROR, op.name, "the graph is quantized already", "give the float graph that it was made from"
        )
        return


def input_dtype(scene: Scene) -> Iterator[Finding]:
    for op in scene.ops("Placeholder", "PlaceholderV2"):
        if op.name in scene.network.inputs and op.dtype not in ("float32", "float64"):
            yield Finding(
                "input_dtype",
                WARNING,
                op.name,
                f"an input of {op.dtype} is not quantized: the Cast behind it is",
                "a float32 input; the scale goes to the preprocessing",
            )
