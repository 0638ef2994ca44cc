"""Writes an event file from which TensorBoard shows a graph."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow.core.util.event_pb2 import Event

from dnndk_prep.graph.artifact import serialize
from dnndk_prep.graph.run import imported

# TensorBoard looks for "tfevents" in the name; what TensorFlow puts there beside it, time and host, repeats nowhere.
EVENTS = "events.out.tfevents.0.dnndk_prep"
# The first record of every event file.
FILE_VERSION = "brain.Event:2"
# TensorBoard shows no larger values, and an event above 2 GiB cannot be written.
MAX_VALUE_BYTES = 1024


def write_events(folder: Path, graph_def: GraphDef, prefix: str = "") -> Path:
    """Write the event file into `folder`, which is made; every node's name begins with `prefix`/ where one is given.

    Nodes carry the shapes of what they give; the values of large constants stay out. The same graph gives the same
    bytes.
    """
    folder.mkdir(parents=True)
    path = folder / EVENTS
    shown = _shown(graph_def, f"{prefix}/" if prefix else "")
    events = [Event(file_version=FILE_VERSION), Event(graph_def=serialize(shown))]
    with tf.io.TFRecordWriter(str(path)) as writer:
        for event in events:
            writer.write(event.SerializeToString())
    return path


def _shown(graph_def: GraphDef, scope: str) -> GraphDef:
    shapes = {op.name: [tensor.shape for tensor in op.outputs] for op in imported(graph_def).get_operations()}
    nodes = [_shown_node(node, scope, shapes) for node in graph_def.node]
    return GraphDef(node=nodes, versions=graph_def.versions, library=graph_def.library)


def _shown_node(node: NodeDef, scope: str, shapes: Mapping[str, list[tf.TensorShape]]) -> NodeDef:
    result = NodeDef(name=scope + node.name, op=node.op, device=node.device)
    result.input.extend(_scoped(reference, scope) for reference in node.input)
    for key, value in node.attr.items():
        if value.HasField("tensor") and value.ByteSize() > MAX_VALUE_BYTES:
            value_of = value.tensor
            result.attr[key].tensor.CopyFrom(TensorProto(dtype=value_of.dtype, tensor_shape=value_of.tensor_shape))
        else:
            result.attr[key].CopyFrom(value)
    # The name under which TensorFlow itself notes shapes for TensorBoard (Graph.as_graph_def, add_shapes).
    result.attr["_output_shapes"].list.shape.extend(shape.as_proto() for shape in shapes[node.name])
    return result


def _scoped(reference: str, scope: str) -> str:
    return f"^{scope}{reference[1:]}" if reference.startswith("^") else scope + reference
