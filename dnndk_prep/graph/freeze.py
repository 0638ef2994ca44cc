"""Variables to constants, on the GraphDef alone.

TensorFlow's freeze_graph tool fails on resource variables (IndexError in ResourceVariableSaveable), and its
convert_variables_to_constants needs a session; this needs neither and gives the same bytes every time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from dnndk_prep.errors import StageError
from dnndk_prep.graph.saver import SavedVariable, free_prefix, saver_nodes
from dnndk_prep.graph.topology import by_name, in_order, library_of, node_of, reachable, require
from dnndk_prep.graph.weights import constant
from dnndk_prep.wire import MAX_BYTES

VARIABLES = ("VarHandleOp", "VariableV2", "Variable")
# They hand a variable's handle on; a loop reads a variable through Enter.
PASS_HANDLE = ("Enter", "Identity", "Switch")


def freeze(
    graph_def: GraphDef,
    variables: Mapping[str, np.ndarray],
    outputs: Sequence[str],
    keep_vars: Sequence[str] = (),
    clear_devices: bool = True,
    inputs: Sequence[str] = (),
) -> GraphDef:
    """The part of `graph_def` that `outputs` need, with the values of `variables` in it.

    `variables` is keyed by the variable's node. A constant keeps its variable's name, and what read the variable
    becomes an Identity. `inputs` stay even where no output needs them. Variables in `keep_vars` stay variables, with
    a save/restore_all of their own that loads them from the checkpoint.

    Raises StageError for names that are not there, a variable without a value, an op that uses a variable in a way
    that has no constant form, or a graph above protobuf's 2 GiB.
    """
    nodes = by_name(graph_def)
    known = [node.name for node in graph_def.node if node.op in VARIABLES]
    require(map(node_of, [*outputs, *inputs]), nodes, "node")
    require(keep_vars, known, "variable")
    needed = reachable(nodes, [*outputs, *inputs, *keep_vars])
    frozen = {name: None for name in known if name in needed and name not in set(keep_vars)}
    _check_values(frozen, variables)
    handles = _handles(nodes, needed, frozen)

    result: list[NodeDef] = []
    for node in graph_def.node:
        if node.name in needed:
            if node.name in frozen:
                result.append(constant(node.name, _value(node, variables[node.name])))
            else:
                result += _without_handle(node, handles, variables)
    if keep_vars:
        kept = [SavedVariable.of(nodes[name]) for name in known if name in set(keep_vars)]
        result += saver_nodes(kept, free_prefix(node.name for node in result))
    return _graph(graph_def, [_plain(node, clear_devices) for node in in_order(result)])


def prune(graph_def: GraphDef, keep: Iterable[str]) -> GraphDef:
    """The nodes named in `keep` and what they need, each after its inputs.

    Devices stay; `_class` goes: it binds a node to another that may be gone. Raises StageError for unknown names.
    """
    nodes = by_name(graph_def)
    ends = [node_of(name) for name in keep]
    require(ends, nodes, "node")
    needed = reachable(nodes, ends)
    kept = in_order([node for node in graph_def.node if node.name in needed])
    return _graph(graph_def, [_plain(node, False) for node in kept])


def _check_values(names: Iterable[str], variables: Mapping[str, np.ndarray]) -> None:
    missing = [name for name in names if name not in variables]
    if missing:
        raise StageError(
            f"{len(missing)} variable(s) of the graph have no value",
            expected="a value for each variable that the outputs need",
            found=f"none for {', '.join(missing[:5])}{' ...' if len(missing) > 5 else ''}",
            remedy="give the checkpoint that belongs to this graph",
        )
    size = sum(variables[name].nbytes for name in names)
    if size > MAX_BYTES:
        raise StageError(
            "the frozen graph would be too large",
            expected=f"weights of at most {MAX_BYTES} bytes (a protobuf file cannot be larger)",
            found=f"{size} bytes",
            remedy="name large variables in freeze_graph.keep_vars",
        )


def _handles(nodes: Mapping[str, NodeDef], needed: set[str], frozen: Iterable[str]) -> dict[str, str]:
    """Every needed node that gives the handle of a frozen resource variable, with that variable."""
    handles = {name: name for name in frozen if nodes[name].op == "VarHandleOp"}
    waiting = list(handles)
    readers: dict[str, list[NodeDef]] = {}
    for name in nodes:
        if name in needed:
            for source in {node_of(reference) for reference in nodes[name].input if not reference.startswith("^")}:
                readers.setdefault(source, []).append(nodes[name])
    while waiting:
        name = waiting.pop()
        for reader in readers.get(name, []):
            if reader.op in PASS_HANDLE and node_of(reader.input[0]) == name and reader.name not in handles:
                handles[reader.name] = handles[name]
                waiting.append(reader.name)
    return handles


def _without_handle(node: NodeDef, handles: Mapping[str, str], variables: Mapping[str, np.ndarray]) -> list[NodeDef]:
    """What `node` becomes when the variable whose handle it reads is a constant; the node itself if it reads none."""
    variable = next((handles[n] for ref in node.input if (n := node_of(ref)) in handles and ref[0] != "^"), None)
    if variable is None:
        return [node]
    if node.op in PASS_HANDLE:
        return [_retyped(node, variables[variable])]
    if node.op == "ReadVariableOp":
        read = NodeDef(name=node.name, op="Identity", input=node.input, device=node.device)
        read.attr["T"].CopyFrom(node.attr["dtype"])
        return [read]
    if node.op == "ResourceGather":
        return _gather(node)
    if node.op == "VariableShape":
        out = node.attr["out_type"].type or tf.int32.as_datatype_enum
        return [constant(node.name, np.array(variables[variable].shape, tf.as_dtype(out).as_numpy_dtype))]
    raise StageError(
        f"{node.name} ({node.op}) uses the variable {variable} in a way that has no constant form",
        expected="ReadVariableOp, ResourceGather or VariableShape",
        found=node.op,
        remedy=f"name {variable} in freeze_graph.keep_vars, or replace the layer of {node.name}",
    )


def _value(node: NodeDef, value: np.ndarray) -> np.ndarray:
    """The value with the variable's dtype; a checkpoint may have been written by another graph."""
    dtype = tf.as_dtype(node.attr["dtype"].type).as_numpy_dtype
    shape = tf.TensorShape(node.attr["shape"].shape)
    if value.dtype != dtype or not shape.is_compatible_with(value.shape):
        raise StageError(
            f"the value of the variable {node.name} does not fit the graph",
            expected=f"{np.dtype(dtype).name} {shape}",
            found=f"{value.dtype.name} {value.shape}",
            remedy="give the checkpoint that belongs to this graph",
        )
    return value


def _retyped(node: NodeDef, value: np.ndarray) -> NodeDef:
    result = NodeDef()
    result.CopyFrom(node)
    result.attr["T"].type = tf.as_dtype(value.dtype).as_datatype_enum
    return result


def _gather(node: NodeDef) -> list[NodeDef]:
    """ResourceGather reads rows of the first axis after `batch_dims` leading ones, as GatherV2 does with that axis."""
    batch_dims = node.attr["batch_dims"].i
    axis = constant(f"{node.name}/axis", np.array(batch_dims, np.int32))
    gather = NodeDef(name=node.name, op="GatherV2", device=node.device)
    gather.input.extend([*node.input[:2], axis.name, *node.input[2:]])
    gather.attr["Tparams"].CopyFrom(node.attr["dtype"])
    gather.attr["Tindices"].CopyFrom(node.attr["Tindices"])
    gather.attr["Taxis"].type = tf.int32.as_datatype_enum
    if batch_dims:
        gather.attr["batch_dims"].i = batch_dims
    return [axis, gather]


def _plain(node: NodeDef, clear_device: bool) -> NodeDef:
    result = NodeDef()
    result.CopyFrom(node)
    if clear_device:
        result.device = ""
    # Colocation with nodes that may be gone, and notes of the tracer; no op reads them.
    for key in [key for key in result.attr if key.startswith("_")]:
        del result.attr[key]
    return result


def _graph(source: GraphDef, nodes: Sequence[NodeDef]) -> GraphDef:
    result = GraphDef(node=nodes, versions=source.versions)
    called = set(library_of(source, nodes))
    result.library.function.extend(f for f in source.library.function if f.signature.name in called)
    result.library.gradient.extend(g for g in source.library.gradient if g.function_name in called)
    return result
