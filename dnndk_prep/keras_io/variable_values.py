"""The stored weights of a Keras 2 model by the variables of the graph it was built in; nothing is run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras.src.saving.legacy import hdf5_format

from dnndk_prep.errors import ModelFileError
from dnndk_prep.graph.weights import room
from dnndk_prep.wire import LARGE


def variable_values(
    model: tf_keras.Model, group: h5py.Group, file: str, old_names: Mapping[str, str]
) -> dict[str, np.ndarray]:
    """The stored weights by the name of their variable."""
    version = _attribute(group, "keras_version", "1")
    backend_name = _attribute(group, "backend", "")
    values: dict[str, np.ndarray] = {}
    for layer, stored in _pairs(model, group, file, old_names):
        wanted = hdf5_format._legacy_weights(layer)
        names = hdf5_format.load_attributes_from_hdf5_group(group[stored], "weight_names")
        found = [_read(group[stored][name]) for name in names]
        if len(found) == len(wanted):
            found = hdf5_format.preprocess_weights_for_loading(layer, found, version, backend_name or None)
        shapes = [tuple(variable.shape) for variable in wanted]
        if [value.shape for value in found] != shapes:
            raise ModelFileError(
                f"the weights in {file} do not match the architecture at the layer {layer.name!r}",
                expected=f"shapes {', '.join(map(str, shapes))}",
                found=f"{', '.join(str(value.shape) for value in found)} (stored as {stored!r})",
                remedy="give the weights that were saved with this architecture",
            )
        for variable, value in zip(wanted, found, strict=True):
            values[variable.op.name] = np.asarray(value, variable.dtype.as_numpy_dtype, order="C")
    return values


def _read(dataset: h5py.Dataset) -> np.ndarray:
    """The numbers, large ones where TensorFlow computes with them without a copy."""
    if dataset.nbytes <= LARGE or dataset.dtype.hasobject:
        return np.asarray(dataset)
    value = room(dataset.shape, dataset.dtype)
    dataset.read_direct(value)
    return value


def _pairs(model: tf_keras.Model, group: h5py.Group, file: str, old_names: Mapping[str, str]) -> list[tuple[Any, str]]:
    """Each layer with weights and the group that holds them: by name, or else in order, as Keras does."""
    layers = [layer for layer in model.layers if layer.weights]
    names = hdf5_format.load_attributes_from_hdf5_group(group, "layer_names")
    stored = [n for n in names if hdf5_format.load_attributes_from_hdf5_group(group[n], "weight_names")]
    wanted = [old_names.get(layer.name, layer.name) for layer in layers]
    if len(stored) != len(wanted):
        missing = [name for name in wanted if name not in stored] or [name for name in stored if name not in wanted]
        raise ModelFileError(
            f"the weights in {file} do not match the architecture",
            expected=f"{len(wanted)} layers with weights",
            found=f"{len(stored)}; in one of the two only: {', '.join(missing[:8]) or 'none'}",
            remedy="give the weights that were saved with this architecture",
        )
    return list(zip(layers, wanted if set(wanted) == set(stored) else stored, strict=True))


def states_of(model: tf_keras.Model) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """The variables in which stateful layers keep their state, at zero as after reset_states, and what to say of it."""
    values, notes = {}, []
    for layer in model._flatten_layers():
        if getattr(layer, "stateful", False) and isinstance(layer, tf_keras.layers.RNN):
            for variable in tf.nest.flatten(layer.states):
                values[variable.op.name] = np.zeros(variable.shape, variable.dtype.as_numpy_dtype)
            notes.append(f"{layer.name} is stateful; in the graph its state starts from zeros in every run")
    return values, tuple(notes)


def _attribute(group: h5py.Group, name: str, default: str) -> str:
    value = group.attrs.get(name, default)
    return value.decode() if isinstance(value, bytes) else str(value)
