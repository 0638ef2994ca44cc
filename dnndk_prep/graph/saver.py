"""The save/restore part of a TensorFlow 1 graph, made node by node: the same bytes every time, and no session."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.core.protobuf.saver_pb2 import SaverDef


@dataclass(frozen=True)
class SavedVariable:
    """A variable as the graph has it: its node, its key in the checkpoint, its DataType number, which kind it is."""

    node: str
    key: str
    dtype: int
    is_resource: bool = True

    @classmethod
    def of(cls, node: NodeDef) -> SavedVariable:
        """The variable of a VarHandleOp, VariableV2 or Variable node."""
        if node.op == "VarHandleOp":
            # Keras' variables are saved under their shared name, which outlives a renaming of the node.
            key = node.attr["shared_name"].s.decode() or node.name
            return cls(node.name, key, node.attr["dtype"].type)
        return cls(node.name, node.name, node.attr["dtype"].type, is_resource=False)


def free_prefix(taken: Iterable[str]) -> str:
    """`save`, or `save_1` ... where a layer of the model is called so: no node under it is in `taken`."""
    scopes = {name.split("/")[0] for name in taken}
    return next(name for i in range(len(scopes) + 1) if (name := f"save_{i}" if i else "save") not in scopes)


def saver_prefix(nodes: Iterable[NodeDef]) -> str | None:
    """The name under which a graph made here has its save and restore nodes; None if it has none."""
    return next((node.name.removesuffix("/SaveV2") for node in nodes if node.op == "SaveV2"), None)


def saver_def(prefix: str) -> SaverDef:
    """What a TF1 Saver has to know of the nodes under `prefix`; the numbers are tf.compat.v1.train.Saver's defaults."""
    return SaverDef(
        filename_tensor_name=f"{prefix}/Const:0",
        save_tensor_name=f"{prefix}/control_dependency:0",
        restore_op_name=f"{prefix}/restore_all",
        max_to_keep=5,
        keep_checkpoint_every_n_hours=10000.0,
        version=SaverDef.V2,
    )


def saver_nodes(variables: Sequence[SavedVariable], prefix: str) -> list[NodeDef]:
    """The nodes that save and restore `variables`, named as tf.compat.v1.train.Saver names them."""
    path = f"{prefix}/Const"
    return [
        _const(f"{prefix}/filename/input", np.array("model")),
        _node(f"{prefix}/filename", "PlaceholderWithDefault", [f"{prefix}/filename/input"], dtype=tf.string, shape=()),
        _node(path, "PlaceholderWithDefault", [f"{prefix}/filename"], dtype=tf.string, shape=()),
        *_save(variables, prefix, path),
        *_restore(variables, prefix, path),
    ]


def _save(variables: Sequence[SavedVariable], prefix: str, path: str) -> list[NodeDef]:
    nodes, values = [], []
    for i, variable in enumerate(variables):
        if not variable.is_resource:
            values.append(variable.node)
            continue
        values.append(f"{prefix}/ReadVariableOp_{i}")
        nodes.append(_node(values[-1], "ReadVariableOp", [variable.node], dtype=variable.dtype))
    names = _keys(variables, f"{prefix}/SaveV2")
    save = _node(f"{prefix}/SaveV2", "SaveV2", [path, *(node.name for node in names), *values])
    save.attr["dtypes"].list.type.extend(variable.dtype for variable in variables)
    done = _node(f"{prefix}/control_dependency", "Identity", [path, f"^{save.name}"], T=tf.string)
    return [*nodes, *names, save, done]


def _restore(variables: Sequence[SavedVariable], prefix: str, path: str) -> list[NodeDef]:
    names = _keys(variables, f"{prefix}/RestoreV2")
    restore = _node(f"{prefix}/RestoreV2", "RestoreV2", [path, *(node.name for node in names)])
    restore.attr["dtypes"].list.type.extend(variable.dtype for variable in variables)
    assigns = []
    for i, variable in enumerate(variables):
        inputs = [variable.node, f"{restore.name}:{i}" if i else restore.name]
        if variable.is_resource:
            assigns.append(_node(f"{prefix}/AssignVariableOp_{i}", "AssignVariableOp", inputs, dtype=variable.dtype))
        else:
            assigns.append(_node(f"{prefix}/Assign_{i}", "Assign", inputs, T=variable.dtype))
    done = _node(f"{prefix}/restore_all", "NoOp", [f"^{node.name}" for node in assigns])
    return [*names, restore, *assigns, done]


def _keys(variables: Sequence[SavedVariable], name: str) -> list[NodeDef]:
    return [
        _const(f"{name}/tensor_names", np.array([variable.key for variable in variables])),
        _const(f"{name}/shape_and_slices", np.array([""] * len(variables))),
    ]


def _const(name: str, value: np.ndarray) -> NodeDef:
    node = _node(name, "Const", [], dtype=tf.string)
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value, dtype=tf.string, shape=value.shape))
    return node


def _node(name: str, op: str, inputs: Sequence[str], **attributes: int | tf.DType | tuple[int, ...]) -> NodeDef:
    node = NodeDef(name=name, op=op, input=inputs)
    for key, value in attributes.items():
        if isinstance(value, tuple):
            node.attr[key].shape.CopyFrom(tf.TensorShape(value).as_proto())
        else:
            node.attr[key].type = value if isinstance(value, int) else value.as_datatype_enum
    return node
