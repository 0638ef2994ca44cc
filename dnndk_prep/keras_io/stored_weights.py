"""The weights of a classic HDF5 file, given to the layers of a LayerGraph, and written again.

Keras 1 stored kernels and gates in other layouts; what comes out of here is Keras 2's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np

from dnndk_prep.errors import ModelFileError
from dnndk_prep.hdf5_file import copy_into, written
from dnndk_prep.keras_io.architecture import MODELS, Config
from dnndk_prep.keras_io.layer_graph import LayerGraph, Leaf, Member

Weights = list[np.ndarray]

# Class -> how many weights it has besides a bias.
KERNELS: Mapping[str, int] = {
    **dict.fromkeys(("Dense", "Conv1D", "Conv2D", "Conv3D", "Conv2DTranspose", "Conv3DTranspose"), 1),
    **dict.fromkeys(("DepthwiseConv2D", "LocallyConnected1D", "LocallyConnected2D"), 1),
    **dict.fromkeys(("SeparableConv1D", "SeparableConv2D", "SimpleRNN", "LSTM", "GRU", "ConvLSTM2D"), 2),
}
# Keras 1 kept a kernel, a recurrent kernel and a bias for each gate, unless consume_less was "gpu".
GATES: Mapping[str, int] = {"LSTM": 4, "GRU": 3, "ConvLSTM2D": 4}
# Keras 1 wrote i, c, f, o; Keras 2 writes i, f, c, o.
GATE_ORDER: Mapping[str, tuple[int, ...]] = {"LSTM": (0, 2, 1, 3), "ConvLSTM2D": (0, 2, 1, 3), "GRU": (0, 1, 2)}
# (class, data_format) -> how the axes of a Keras 1 kernel stand in Keras 2: height, width, inputs, outputs.
KERAS1_AXES: Mapping[tuple[str, str], tuple[int, ...]] = {
    ("Conv2D", "channels_first"): (2, 3, 1, 0),
    ("Conv3D", "channels_first"): (2, 3, 4, 1, 0),
    ("SeparableConv2D", "channels_first"): (2, 3, 1, 0),
    ("Conv2DTranspose", "channels_first"): (2, 3, 0, 1),
    ("Conv2DTranspose", "channels_last"): (0, 1, 3, 2),
    ("ConvLSTM2D", "channels_first"): (2, 3, 1, 0),
}


def stored_groups(group: h5py.Group) -> dict[str, tuple[list[str], Weights]]:
    """Layer -> the names of its weights and their values, for the layers that have any, in the file's order."""
    if is_numbered(group):
        return _numbered_groups(group)
    result = {}
    for name in _texts(group, "layer_names"):
        names = _texts(group[name], "weight_names")
        if names:
            result[name] = (names, [np.asarray(group[name][weight]) for weight in names])
    return result


def is_numbered(group: h5py.Group) -> bool:
    """Whether Keras before 1.0 wrote the weights: by the number of the layer and of the weight, without names."""
    return "nb_layers" in group.attrs


def _numbered_groups(group: h5py.Group) -> dict[str, tuple[list[str], Weights]]:
    result = {}
    for layer in _in_numbers(group, "layer_"):
        names = _in_numbers(group[layer], "param_")
        if names:
            result[layer] = (names, [np.asarray(group[layer][name]) for name in names])
    return result


def _in_numbers(group: h5py.Group, stem: str) -> list[str]:
    numbers = [name.removeprefix(stem) for name in group if name.startswith(stem)]
    return [f"{stem}{number}" for number in sorted((n for n in numbers if n.isdecimal()), key=int)]


def give_weights(
    graph: LayerGraph, stored: Mapping[str, tuple[list[str], Weights]], is_keras1: bool, file: str
) -> None:
    """Put the stored weights into the leaves of `graph`, in Keras 2's layout.

    By name, or else in order, as Keras does. Raises ModelFileError where they do not match.
    """
    entries = [entry for entry in _entries(graph.root) if sum(_counts(entry, is_keras1)) or entry.name in stored]
    if len(entries) != len(stored):
        raise _mismatch(file, f"{len(entries)} layers with weights", f"{len(stored)}: {', '.join(stored)[:300]}")
    by_name = {entry.name for entry in entries} == set(stored)
    for entry, place in zip(entries, stored, strict=True):
        values = stored[entry.name if by_name and entry.name else place][1]
        trainable, others = _counts(entry, is_keras1)
        if entry.leaf is None and trainable + others != len(values):
            raise _mismatch(file, f"{trainable + others} weights in {entry.name}", f"{len(values)}")
        _deal(entry, values[:trainable], values[trainable:], is_keras1)
    if is_keras1:
        for leaf in graph.leaves():
            leaf.weights = keras2_weights(leaf.kind, leaf.config, leaf.weights)
            if leaf.kind == "PReLU" and leaf.weights:
                _find_shared_axes(leaf)


def keras2_weights(kind: str, config: Config, weights: Weights) -> Weights:
    """Keras 1's weights of a layer (its Keras 2 class and config are given) in the layout of Keras 2."""
    if kind == "TimeDistributed":
        return keras2_weights(config["layer"]["class_name"], config["layer"]["config"], weights)
    if kind == "Bidirectional":
        half, inner = len(weights) // 2, config["layer"]
        halves = (weights[:half], weights[half:])
        return [value for part in halves for value in keras2_weights(inner["class_name"], inner["config"], part)]
    if kind in GATES and len(weights) == 3 * GATES[kind]:
        columns = [weights[part::3] for part in range(3)]
        weights = [
            np.concatenate([column[gate] for gate in GATE_ORDER[kind]], axis=_gate_axis(kind, config, column[0]))
            for column in columns
        ]
    if kind == "Conv1D" and weights:
        kernel = weights[0]
        if kernel.shape[1] != 1 or kernel.shape[0] != np.ravel(config["kernel_size"])[0]:
            # Keras 1.0 and 1.1: filters, inputs, length, 1.
            kernel = kernel.transpose(2, 3, 1, 0)
        return [kernel[:, 0], *weights[1:]]
    axes = KERAS1_AXES.get((kind, config.get("data_format", "")))
    if axes is None:
        return weights
    return [value.transpose(axes) if value.ndim == len(axes) else value for value in weights]


def write_weights(graph: LayerGraph, path: Path) -> None:
    """Write the leaves' weights as Keras 2 on TensorFlow does, in the classic layout."""
    with written(path) as file:
        file.attrs["keras_version"], file.attrs["backend"] = "2", "tensorflow"
        leaves = [leaf for leaf in graph.leaves() if leaf.kind != "InputLayer"]
        file.attrs["layer_names"] = np.array([leaf.name.encode() for leaf in leaves])
        for leaf in leaves:
            group = file.create_group(leaf.name)
            names = [f"{leaf.name}/weight_{number}:0" for number in range(len(leaf.weights))]
            group.attrs["weight_names"] = np.array([name.encode() for name in names], dtype="S")
            for name, value in zip(names, leaf.weights, strict=True):
                group.create_dataset(name, data=np.ascontiguousarray(value))


def write_complete(architecture: Config, version: str, weights: Path, target: Path) -> None:
    """Write a complete model: the architecture, of Keras `version`, with the weights of a classic HDF5 file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(weights, "r") as source, written(target) as file:
        fill_complete(architecture, version, source, file)


def fill_complete(architecture: Config, version: str, weights: h5py.Group, target: h5py.Group) -> None:
    """Fill an empty file as `write_complete` does, from an open classic one."""
    target.attrs["model_config"] = json.dumps(architecture)
    target.attrs["keras_version"], target.attrs["backend"] = version, "tensorflow"
    copy_into(weights.get("model_weights", weights), target.create_group("model_weights"))


def _entries(member: Member) -> list[Member]:
    """The layers that have a group of their own in the file."""
    result = []
    for inner in member.members:
        result += _entries(inner) if inner.is_flattened else [inner]
    return result


def _deal(member: Member, trainable: Weights, others: Weights, is_keras1: bool) -> None:
    """Deal the weights out to the leaves of `member`."""
    if member.leaf is not None:
        member.leaf.weights = trainable + others
        return
    counts = [_counts(inner, is_keras1) for inner in member.members]
    if not member.is_trainable:
        # All are among the others then, those that it could train first.
        split = sum(first for first, _ in counts)
        trainable, others = others[:split], others[split:]
    for inner, (first, second) in zip(member.members, counts, strict=True):
        _deal(inner, trainable[:first], others[:second], is_keras1)
        trainable, others = trainable[first:], others[second:]


def _counts(member: Member, is_keras1: bool) -> tuple[int, int]:
    """How many trainable and other weights a layer or model has; Keras writes the trainable ones of a model first."""
    if member.leaf is not None:
        trainable, fixed = _leaf_counts(member.leaf.kind, member.leaf.config, is_keras1)
        return (trainable, fixed) if member.leaf.config.get("trainable", True) else (0, trainable + fixed)
    counts = [_counts(inner, is_keras1) for inner in member.members]
    total = sum(first for first, _ in counts), sum(second for _, second in counts)
    return total if member.is_trainable else (0, sum(total))


def _leaf_counts(kind: str, config: Config, is_keras1: bool) -> tuple[int, int]:
    inner = config.get("layer")
    if kind == "Bidirectional" and inner:
        return 2 * sum(_leaf_counts(inner["class_name"], inner["config"], is_keras1)), 0
    if kind == "TimeDistributed" and inner and inner["class_name"] not in MODELS:
        return _leaf_counts(inner["class_name"], inner["config"], is_keras1)
    if kind == "BatchNormalization":
        return int(config.get("center", True)) + int(config.get("scale", True)), 2
    if kind in ("LayerNormalization", "GroupNormalization"):
        return int(config.get("center", True)) + int(config.get("scale", True)), 0
    if kind == "Normalization":
        # Mean, variance and count of what it was adapted to.
        return 0, 3 if config.get("mean") is None else 0
    if kind in ("Embedding", "PReLU"):
        return 1, 0
    if is_keras1 and kind in GATES and config.get("implementation") != 2:
        return 3 * GATES[kind], 0
    return (KERNELS[kind] + int(config.get("use_bias", True)), 0) if kind in KERNELS else (0, 0)


def _gate_axis(kind: str, config: Config, value: np.ndarray) -> int:
    """The axis of the outputs, which Keras 1 put first in channels_first kernels."""
    return 0 if value.ndim == 4 and config.get("data_format") == "channels_first" else -1


def _find_shared_axes(leaf: Leaf) -> None:
    """Keras 1 does not write the shared axes; the slopes have size 1 there."""
    if leaf.config.get("shared_axes") is None:
        axes = [axis for axis, size in enumerate(leaf.weights[0].shape, 1) if size == 1]
        leaf.config["shared_axes"] = axes or None


def _texts(group: h5py.Group, name: str) -> list[str]:
    """A list of names in the attributes of `group`; Keras spreads a long one over name0, name1, ..."""
    parts = (
        [name]
        if name in group.attrs
        else sorted(
            (key for key in group.attrs if key.startswith(name) and key[len(name) :].isdigit()),
            key=lambda key: int(key[len(name) :]),
        )
    )
    values = [value for part in parts for value in group.attrs[part]]
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values]


def _mismatch(file: str, expected: str, found: str) -> ModelFileError:
    return ModelFileError(
        f"the weights in {file} do not match the architecture",
        expected=expected,
        found=found,
        remedy="give the weights that were saved with this architecture",
    )
