"""Writes a graph for an older TensorFlow: the ops, attributes and values that its registry knows, and no others."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any

import tensorflow as tf
from tensorflow.core.framework.attr_value_pb2 import AttrValue
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.python.framework import op_def_registry

from dnndk_prep.dpu.levels import PRODUCERS as PRODUCERS
from dnndk_prep.dpu.levels import level_of
from dnndk_prep.errors import StageError
from dnndk_prep.graph import older_forms
from dnndk_prep.graph.rewrites.fold_constants import fold_constants
from dnndk_prep.graph.topology import flag, in_order, node_of

BFLOAT16 = tf.bfloat16.as_datatype_enum
# Attributes that do not count in inference, whatever their value, with the reason.
IRRELEVANT: Mapping[str, Callable[[NodeDef], bool]] = {
    # How fast the moving statistics follow in training.
    "exponential_avg_factor": lambda node: not flag(node, "is_training", default=True),
    # For which operands MatMul's gradient is wanted.
    "grad_a": lambda node: True,
    "grad_b": lambda node: True,
    "grad_x": lambda node: True,
    "grad_y": lambda node: True,
    # What a variable is called in messages.
    "debug_name": lambda node: True,
}


def for_reader(graph_def: GraphDef, reader: str, keep: frozenset[str]) -> GraphDef:
    """The graph as TensorFlow `reader` ("1.9" or later) reads and computes it; `keep` names stay.

    A release without a registry of its own is served as `level_of` says.
    An attribute that the reader does not know goes only if its value is what the reader does anyway; otherwise the
    node gets an older form. Raises StageError naming node, op and attribute where there is none.
    """
    # First: a later reader may know the op that calls a function, and would still be the wrong advice.
    level = level_of(reader)
    _refuse_functions(graph_def, level)
    try:
        return _levelled(graph_def, level, keep)
    except StageError:
        # What the release lacks may follow from constants alone.
        folded = fold_constants(graph_def, keep).graph_def
        if folded is graph_def:
            raise
    return _levelled(folded, level, keep)


def _levelled(graph_def: GraphDef, level: str, keep: frozenset[str]) -> GraphDef:
    registry = registry_of(level)
    # TensorFlow, asked for shapes, writes defaults into the graph it is given.
    source = GraphDef()
    source.CopyFrom(graph_def)
    result = GraphDef()
    result.versions.producer = PRODUCERS[level]
    forms = older_forms.Forms(source, keep)
    for node in source.node:
        for new in _written(node, registry, forms, level):
            result.node.append(new)
    read = {node_of(name) for node in result.node for name in node.input}
    left = {node_of(name) for node in source.node for name in node.input} - read - keep
    # Kernels and sizes that were read, and are not by the older forms.
    ordered = in_order([node for node in result.node if node.op != "Const" or node.name not in left])
    del result.node[:]
    result.node.extend(ordered)
    return result


@functools.cache
def registry_of(reader: str) -> dict[str, Any]:
    """Every op of the release: its attributes, with type, allowed values, and whether there is a default."""
    folder = resources.files("dnndk_prep.graph") / "registry"
    return json.loads((folder / f"tensorflow-{reader}.json").read_text(encoding="utf-8"))["ops"]


def _written(node: NodeDef, registry: dict[str, Any], forms: older_forms.Forms, reader: str) -> list[NodeDef]:
    """The node as the reader knows it; an older form is held against the registry like any other node."""
    problem = _problem(node, registry) or forms.kernel_problem(node, reader)
    if problem is None:
        return [_plain(node, registry)]
    rewritten = forms.older(node)
    if rewritten is None:
        raise StageError(
            f"TensorFlow {reader} cannot read the node {node.name} ({node.op})",
            expected=f"what the operator registry of TensorFlow {reader} holds",
            found=problem,
            remedy=_remedy(node, reader, forms),
            code="K2D-0002" if node.op in registry else "K2D-0003",
        )
    return [plain for new in forms.in_frame(node, rewritten) for plain in _written(new, registry, forms, reader)]


def _problem(node: NodeDef, registry: dict[str, Any]) -> str | None:
    """What the reader would refuse or compute otherwise; None if nothing."""
    if node.op not in registry:
        return f"the op {node.op}, which it does not have"
    if node.op.startswith("Xla"):
        return f"the op {node.op}, which runs in programs of XLA alone"
    definition = op_def_registry.get(node.op)
    given = [argument.name for argument in definition.input_arg] if definition else registry[node.op]["inputs"]
    if len(given) > len(registry[node.op]["inputs"]):
        return f"the input {given[len(registry[node.op]['inputs'])]}, which it does not have"
    known = registry[node.op]["attrs"]
    for name, value in sorted(node.attr.items()):
        if name.startswith("_"):
            continue
        if value.type == BFLOAT16:
            return f"the type bfloat16 ({name}), for which it has no kernels"
        if name not in known:
            if not _is_harmless(node, name, value):
                return f"the attribute {name} = {_show(value)}, which it does not have"
        elif (found := _not_allowed(value, known[name])) is not None:
            return f"the attribute {name} = {found}, which it does not allow"
    return None


def _is_harmless(node: NodeDef, name: str, value: AttrValue) -> bool:
    if name in IRRELEVANT and IRRELEVANT[name](node):
        return True
    # TensorFlow adds an attribute to an op only with a default that means what the op did before.
    definition = op_def_registry.get(node.op)
    attribute = next((item for item in definition.attr if item.name == name), None) if definition else None
    return attribute is not None and attribute.HasField("default_value") and attribute.default_value == value


def _not_allowed(value: AttrValue, known: dict[str, Any]) -> str | None:
    texts = [value.s.decode(errors="replace")] if value.WhichOneof("value") == "s" else []
    types = [value.type] if value.WhichOneof("value") == "type" else list(value.list.type)
    names = [tf.as_dtype(number).name for number in types]
    for found, allowed in ((texts, known.get("allowed_strings")), (names, known.get("allowed_types"))):
        wrong = [item for item in found if allowed and item not in allowed]
        if wrong:
            return wrong[0]
    return None


def _plain(node: NodeDef, registry: dict[str, Any]) -> NodeDef:
    """The node with the reader's attributes alone; those that begin with _ are TensorFlow's notes to itself."""
    known = registry[node.op]["attrs"]
    result = NodeDef(name=node.name, op=node.op, input=node.input, device=node.device)
    for name, value in node.attr.items():
        if name in known:
            result.attr[name].CopyFrom(value)
    return result


def _refuse_functions(graph_def: GraphDef, reader: str) -> None:
    functions = {function.signature.name for function in graph_def.library.function}
    for node in graph_def.node:
        values = [function for value in node.attr.values() for function in (value.func, *value.list.func)]
        called = [function.name for function in values if function.name]
        if node.op in functions or called:
            raise StageError(
                f"the node {node.name} calls the library function {(called or [node.op])[0]}",
                expected=f"plain nodes: the graphs of TensorFlow {reader} hold no functions",
                found=node.op,
                remedy="export the model without control flow v2, or without tf.function inside",
                code="K2D-0003",
            )


def _remedy(node: NodeDef, reader: str, forms: older_forms.Forms) -> str:
    later = [name for name in PRODUCERS if PRODUCERS[name] > PRODUCERS[reader]]
    known = [name for name in later if _problem(node, registry_of(name)) is None]
    reads = next((name for name in known if forms.kernel_problem(node, name) is None), None)
    if reads is not None:
        return f'set graph.reader: "{reads}", the oldest that reads it, if your toolchain is that new'
    return "replace the layer that makes it: no TensorFlow 1 release has a form for it"


def _show(value: AttrValue) -> str:
    return " ".join(str(value).split())
