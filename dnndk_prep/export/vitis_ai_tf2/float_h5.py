"""The float model for the quantizer: built once by Keras 2, proven by what it predicts, written as h5."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras.src import backend
from tf_keras.src.saving.legacy import hdf5_format

from dnndk_prep.errors import ModelFileError, NumericsError
from dnndk_prep.export.vitis_ai_tf2.plain_model import plain_model
from dnndk_prep.graph.artifact import TensorSpec
from dnndk_prep.graph.compare import max_abs_diff
from dnndk_prep.hdf5_file import written
from dnndk_prep.keras_io.architecture import Config
from dnndk_prep.keras_io.load import KerasSource
from dnndk_prep.keras_io.through_keras import first_line

# Batch norms are computed in another order than in Keras 3, which is some 1e-7 a layer.
TOLERANCE = 1e-5
BATCH = 32
# What the file says that wrote it: the newest of the Kerases that it is for.
KERAS_VERSION = "2.12.0"


@dataclass(frozen=True)
class FloatModel:
    """The model in layers that Keras 2.8 has, with its weights; made with no training settings."""

    architecture: Config
    model: tf_keras.Model

    @classmethod
    def of(cls, source: KerasSource, inputs: Sequence[str]) -> FloatModel:
        """The model of `source`; `inputs` are its input layers in the order of the result's inputs.

        Raises ModelFileError where it has no form in layers of Keras 2.8.
        """
        architecture, weights = plain_model(source, inputs)
        backend.clear_session()
        try:
            model = tf_keras.models.model_from_json(json.dumps(architecture))
            for layer in model.layers:
                layer.set_weights(weights[layer.name])
        # Keras raises whatever it meets; all of it means that these layers do not make this model.
        except Exception as error:
            raise ModelFileError(
                f"Keras 2 cannot build {source.file} from its own layers alone",
                expected="a functional model of Keras' own layers",
                found=first_line(error),
                remedy="the bundle for TensorFlow 1 does without; leave this one out with target.vitis_ai_tf2: false",
            ) from error
        return cls(architecture, model)

    def interface(self) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        """Inputs and outputs by the names of their layers."""
        ends = ((self.model.input_names, self.model.inputs), (self.model.output_names, self.model.outputs))
        inputs, outputs = (
            tuple(
                TensorSpec(name, tuple(tensor.shape.as_list()), tensor.dtype.name)
                for name, tensor in zip(names, tensors, strict=True)
            )
            for names, tensors in ends
        )
        return inputs, outputs

    def predict(self, feeds: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The outputs for `feeds`, both in the model's order."""
        given = [np.asarray(value, tensor.dtype.name) for value, tensor in zip(feeds, self.model.inputs, strict=True)]
        result = self.model.predict(given[0] if len(given) == 1 else given, batch_size=BATCH, verbose=0)
        return [np.asarray(value) for value in tf.nest.flatten(result)]

    def proven(self, feeds: Sequence[np.ndarray], wanted: Sequence[np.ndarray]) -> dict[str, float]:
        """How far what it predicts for `feeds` is from `wanted`, the model's own: {"max_abs_diff", "tolerance"}.

        Raises NumericsError where a difference is above 1e-5 x max(1, max|wanted|).
        """
        worst = {"max_abs_diff": 0.0, "tolerance": TOLERANCE}
        got = self.predict(feeds)
        for name, a, b in zip(self.model.output_names, got, wanted, strict=True):
            tolerance = TOLERANCE * max(1.0, float(np.abs(b[np.isfinite(b)]).max(initial=0.0)))
            difference = max_abs_diff(a, b)
            if difference > tolerance:
                raise NumericsError(
                    f"the float model differs from the model's own predictions: output {name}",
                    expected=f"a difference of at most {tolerance:.3g}",
                    found=f"{difference:.3g}" if a.shape == b.shape else f"shape {a.shape} instead of {b.shape}",
                    remedy="leave the bundle out with target.vitis_ai_tf2: false",
                )
            if difference / tolerance > worst["max_abs_diff"] / worst["tolerance"]:
                worst = {"max_abs_diff": difference, "tolerance": tolerance}
        return worst

    def write(self, path: Path) -> None:
        """Write the complete model in the layout of Keras 2's h5 files, without training settings."""
        with written(path) as file:
            # As bytes, which h5py 2 in the older containers gives back as bytes.
            _attributes(file, {"model_config": json.dumps(self.architecture)})
            group = file.create_group("model_weights")
            _attributes(group, {})
            # Keras takes the weights in the order of its layers, not by name.
            names = [layer.name.encode() for layer in self.model.layers]
            hdf5_format.save_attributes_to_hdf5_group(group, "layer_names", names)
            for layer in self.model.layers:
                _write_layer(group.create_group(layer.name), layer)


def _attributes(group: h5py.Group, more: Mapping[str, str]) -> None:
    for name, text in {"keras_version": KERAS_VERSION, "backend": "tensorflow", **more}.items():
        group.attrs[name] = text.encode()


def _write_layer(group: h5py.Group, layer: tf_keras.layers.Layer) -> None:
    variables = layer.trainable_weights + layer.non_trainable_weights
    names = [f"{layer.name}/{number}_{v.name.rpartition('/')[2]}" for number, v in enumerate(variables)]
    hdf5_format.save_attributes_to_hdf5_group(group, "weight_names", [name.encode() for name in names])
    for name, variable in zip(names, variables, strict=True):
        group.create_dataset(name, data=variable.numpy())
