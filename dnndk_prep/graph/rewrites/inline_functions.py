"""Writes the functions of a TensorFlow 2 graph out as plain nodes, and its branches and loops as TensorFlow 1 has them.

Given:  x -> StatefulPartitionedCall[f]                  Result: x -> (the nodes of f, under the call's name)
Given:  While[cond, body], If[then, else]                Result: Enter, Merge, Switch, NextIteration, Exit

TensorFlow's own function optimizer does it: it needs no session, and runs nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.core.protobuf.config_pb2 import ConfigProto
from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef
from tensorflow.python.grappler import tf_optimizer

from dnndk_prep.errors import StageError
from dnndk_prep.graph.rewrites.orders import bound, without_orders
from dnndk_prep.graph.topology import by_name, library_of
from dnndk_prep.said import first_line

BRANCHES = ("If", "StatelessIf", "While", "StatelessWhile", "Case", "StatelessCase")

# Functions with these are left for a later pass, which would choose between the forms of an LSTM by the device.
LEFT_ALONE = ("api_implements", "api_preferred_device", "_noinline", "forward_function_name", "backward_function_name")

MARK = re.compile(r"(^|/)Func/")


def inline_functions(graph_def: GraphDef, keep: Sequence[str]) -> GraphDef:
    """The graph without a function library; `keep` names nodes that stay under their names.

    Raises StageError naming the call that cannot be written out.
    """
    if not library_of(graph_def, graph_def.node):
        return graph_def
    meta = MetaGraphDef(graph_def=graph_def)
    _mark(meta.graph_def.node)
    for function in meta.graph_def.library.function:
        _mark(function.node_def)
        for key in LEFT_ALONE:
            function.attr.pop(key, None)
    meta.collection_def["train_op"].node_list.value.extend(keep)
    config = ConfigProto()
    options = config.graph_options.rewrite_options
    # By default it leaves graphs of fewer than four nodes.
    options.min_graph_nodes = -1
    options.meta_optimizer_iterations = options.ONE
    options.optimizers.append("function")
    try:
        written = tf_optimizer.OptimizeGraph(config, meta)
    except (ValueError, tf.errors.OpError) as error:
        raise StageError(
            "TensorFlow cannot write out the functions of the graph",
            expected="functions that TensorFlow can inline",
            found=first_line(error),
            remedy="export the model without tf.function inside, or freeze it first",
            code="K2D-0003",
        ) from error
    result = GraphDef.FromString(written.SerializeToString())
    functions = {function.signature.name for function in graph_def.library.function}
    for node in result.node:
        called = [f.name for value in node.attr.values() for f in (value.func, *value.list.func) if f.name]
        if node.op in functions or called:
            raise StageError(
                f"the call {node.name} ({node.op}) cannot be written out as plain nodes",
                expected="calls, branches and loops that have a TensorFlow 1 form",
                found=(called or [node.op])[0],
                remedy="export the model without this call",
                code="K2D-0003",
            )
    del result.library.function[:]
    del result.library.gradient[:]
    for node in result.node:
        for key in [key for key in node.attr if key.startswith("_")]:
            del node.attr[key]
    return _without_marks(result, frozenset(keep))


def _without_marks(graph_def: GraphDef, keep: frozenset[str]) -> GraphDef:
    """The graph without the Identities and NoOps (`Func/...`) that mark where calls began and ended.

    Where something is written they hold its order, and where one stands for a branch its place: there they stay.
    """
    if any(node.op.startswith("Assign") for node in graph_def.node):
        return graph_def
    plain = without_orders(graph_def, keep)
    nodes = by_name(plain)
    controls = {name[1:] for node in plain.node for name in node.input if name.startswith("^")}
    gone = {
        node.name: node.input[0]
        for node in plain.node
        if MARK.search(node.name)
        and node.op == "Identity"
        and node.name not in keep
        and not bound(node, nodes, controls)
    }
    result = GraphDef(versions=graph_def.versions)
    for node in plain.node:
        if node.name in gone:
            continue
        new = result.node.add()
        new.CopyFrom(node)
        for i, name in enumerate(new.input):
            while name in gone:
                name = gone[name]
            new.input[i] = name
    return result


def _mark(nodes: Iterable[NodeDef]) -> None:
    """Branches and loops are written out only where the mark allows it; calls unless a mark forbids it."""
    for node in nodes:
        if node.op in BRANCHES:
            node.attr["_lower_using_switch_merge"].b = True
        node.attr.pop("_noinline", None)
        # What is left as it is for other devices' compilers.
        node.attr.pop("_XlaMustCompile", None)
        node.attr.pop("_xla_compile_id", None)
