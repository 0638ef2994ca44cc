"""What the tensors of a TensorFlow 2 checkpoint are called, told by the graph of objects that is stored with them.

Their keys name places in that graph (layer_with_weights-0/kernel/.ATTRIBUTES/VARIABLE_VALUE), not layers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
# Where Keras and TensorFlow hang what only a training needs.
TRAINING = ("optimizer", "keras_api", "loss_tracker", "metrics")
# The model's own weights, which an optimizer of Keras 3 holds as well: their key may lead through it.
WEIGHTS = "_trainable_variables"


@dataclass(frozen=True)
class StoredObject:
    """A tensor of a checkpoint: its key, its name, and whether it belongs to training by its place."""

    key: str
    name: str
    is_training: bool = False


def stored_objects(message: bytes, keys: Collection[str], read: Callable[[str], np.ndarray]) -> list[StoredObject]:
    """Each tensor of `keys` once, by its variable's name (conv1/kernel), or by its place where that tells nothing.

    message: the value under OBJECT_GRAPH. Keras 3 stores variables twice in a SavedModel: of tensors with one name and
    the same value (`read` gives it) one is taken; others of one name are called by their places. Raises DecodeError.
    """
    graph = TrackableObjectGraph.FromString(message)
    told = {value.checkpoint_key for node in graph.nodes for value in node.attributes}
    slots = {slot.slot_variable_node_id for node in graph.nodes for slot in node.slot_variables}
    found = [StoredObject(key, _place(key), _is_training(key)) for key in sorted(keys) if key not in told]
    by_name: dict[str, list[StoredObject]] = {}
    for number, node in enumerate(graph.nodes):
        for value in node.attributes:
            if value.checkpoint_key in keys:
                is_training = number in slots or _is_training(value.checkpoint_key)
                one = StoredObject(value.checkpoint_key, value.full_name or _place(value.checkpoint_key), is_training)
                by_name.setdefault(one.name, []).append(one)
    for same in by_name.values():
        found += same[:1] if _are_equal(same, read) else [replace(one, name=_place(one.key)) for one in same]
    return sorted(found, key=lambda one: one.name)


def _place(key: str) -> str:
    return key.removesuffix(VALUE)


def _is_training(key: str) -> bool:
    parts = key.split("/")
    return any(part in TRAINING for part in parts) and WEIGHTS not in parts


def _are_equal(same: Sequence[StoredObject], read: Callable[[str], np.ndarray]) -> bool:
    if len(same) == 1:
        return True
    first, *others = (np.asarray(read(one.key)) for one in same)
    return all(other.shape == first.shape and other.tobytes() == first.tobytes() for other in others)
