"""What Keras itself predicts for a model: the reference for all that is made of it."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from dnndk_prep.errors import DnndkPrepError, ModelFileError
from dnndk_prep.graph.artifact import TensorSpec
from dnndk_prep.keras_io.activations import TENSORFLOW_ACTIVATIONS
from dnndk_prep.keras_io.application_layers import application_layers
from dnndk_prep.keras_io.architecture import is_operation, layers_of
from dnndk_prep.keras_io.built_limits import limited_calls
from dnndk_prep.keras_io.initial_values import UNTOUCHED, large_ones_copied_once, without_initial_values
from dnndk_prep.keras_io.load import KerasSource
from dnndk_prep.keras_io.plain_layers import KERAS2_LAYERS
from dnndk_prep.keras_io.precision import in_single_precision
from dnndk_prep.keras_io.supported import renamed_layers
from dnndk_prep.keras_io.through_keras import import_keras
from dnndk_prep.keras_io.valid_names import with_valid_names
from dnndk_prep.said import first_line

# For axes that a model leaves free; divisible by the strides of common networks.
FREE_SIZE = 32
PROBE_IMAGES = 8
# Bytes of a tensor, for one example, from which a batch of two has to do, and of one: every op makes one of its own,
# and every stage runs the batch several times.
MANY, LARGE = 2**20, 2**24
BATCH = 32


@dataclass(frozen=True)
class Opened:
    """A model in the Keras that wrote it, with its weights, in single precision and with names that TensorFlow takes.

    keys: those of the model's dict of inputs, sorted as Keras counts them; None where it takes a list. old_names: what
    its layers were called, by their names now.
    """

    model: Any
    keys: tuple[str, ...] | None
    old_names: Mapping[str, str]

    def arranged(self, inputs: Sequence[Any]) -> Any:
        """The inputs as the model is called with them."""
        if self.keys is not None:
            # Keras 3 takes a dict of inputs by its keys alone.
            return dict(zip(self.keys, inputs, strict=True))
        return inputs[0] if len(inputs) == 1 else list(inputs)

    def input_layers(self) -> list[str]:
        """The layer of each input of a model of Keras 3."""
        return [_layer_of(tensor) for tensor in self.model.inputs]

    def output_layers(self) -> list[str]:
        """The layer or operation that gives each output of a model of Keras 3."""
        return [_layer_of(tensor) for tensor in self.model.outputs]

    def variable_paths(self) -> dict[int, str]:
        """What Keras 3 calls the variables (conv1/kernel), by the identity of their handles."""
        return {id(variable.value.handle): variable.path for variable in self.model.variables}


def opened(source: KerasSource) -> Opened:
    """The model of `source`, in keras for Keras 3 and in tf_keras for Keras 2 and before.

    Raises ModelFileError where that Keras cannot read it.
    """
    keras = import_keras(source.keras_version)
    own = renamed_layers(keras) if source.is_keras3 else {**KERAS2_LAYERS, **TENSORFLOW_ACTIVATIONS, **UNTOUCHED}
    custom = {**own, **application_layers(keras), **source.custom.scope(keras, source.config)}
    ends = source.config["config"].get("input_layers") if source.is_keras3 else None
    # In half precision Keras itself is further from the weights than any graph may be from it.
    config, _ = in_single_precision(source.config)
    old_names: dict[str, str] = {}
    if source.is_keras3:
        # TensorFlow runs no layers with spaces in their names, which another backend of Keras 3 does.
        config, old_names = with_valid_names(config)
        config = _with_origins(config)
    # A class of the user's may ask what its initializer is.
    config = config if source.custom.objects else without_initial_values(config, source.is_keras3)
    try:
        with keras.utils.custom_object_scope(custom), limited_calls([keras.layers.Layer]):
            model = keras.models.model_from_json(json.dumps(config))
        with tempfile.TemporaryDirectory(prefix="dnndk_prep_") as folder:
            # Keras tells the layout by the file's name.
            link = Path(folder) / "classic.h5"
            link.symlink_to(source.weights.resolve())
            _build(model, source.config)
            with large_ones_copied_once():
                model.load_weights(str(link))
    except DnndkPrepError:
        raise
    # Keras raises whatever it meets; all of it means that it cannot open this model.
    except Exception as error:
        raise ModelFileError(
            f"Keras {keras.__version__} cannot open {source.file}",
            expected=f"a model that Keras {source.keras_version} wrote",
            found=first_line(error),
            remedy="save the model again",
        ) from error
    return Opened(model, tuple(sorted(ends)) if isinstance(ends, dict) else None, old_names)


class Predictor:
    """The model in the Keras that wrote it: keras for Keras 3, tf_keras for Keras 2 and before."""

    def __init__(self, source: KerasSource) -> None:
        self._file = source.file
        self._opened = opened(source)

    def predict(self, feeds: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The outputs for `feeds`, both in the model's order."""
        inputs, model = self._opened.arranged(feeds), self._opened.model
        try:
            # Tracing the model for a single batch takes longer than running its layers one by one.
            if len(feeds[0]) <= BATCH:
                return [np.asarray(value) for value in tf.nest.flatten(model(inputs, training=False))]
            result = model.predict(inputs, batch_size=BATCH, verbose=0)
        except tf.errors.ResourceExhaustedError as error:
            raise ModelFileError(
                f"the model in {self._file} needs more memory than there is",
                expected=f"a model that Keras can run on {min(BATCH, len(feeds[0]))} images at once",
                found=first_line(error),
                remedy="run on a machine with more memory, or build the model for a smaller input",
            ) from error
        except tf.errors.OpError as error:
            raise ModelFileError(
                f"Keras cannot run the model in {self._file} on this machine",
                expected="layers that TensorFlow has a CPU kernel for; those of images take channels_last",
                found=first_line(error),
                remedy="build the model with data_format='channels_last', and save it again",
            ) from error
        return list(tf.nest.flatten(result))


def probe_batch(
    source: KerasSource, inputs: Sequence[TensorSpec], seed: int, largest: int = 0
) -> dict[str, np.ndarray]:
    """A random batch for the model's own inputs by name, the same for the same seed.

    Floats are uniform in [0, 1); whole numbers are below 10 and below the size of every Embedding.
    largest: the bytes of the largest tensor of the model, for one example.
    """
    random = np.random.default_rng(seed)
    sizes = [layer["config"]["input_dim"] for layer in layers_of(source.config) if _is_embedding(layer)]
    limit = min([10, *sizes])
    size = max([largest, *(4 * math.prod(size or FREE_SIZE for size in spec.shape[1:]) for spec in inputs)])
    images = 1 if size > LARGE else 2 if size > MANY else PROBE_IMAGES
    batch = {}
    for spec in inputs:
        shape = (spec.shape[0] or images, *(size or FREE_SIZE for size in spec.shape[1:]))
        whole = np.dtype(spec.dtype).kind in "iub" or bool(sizes)
        values = random.integers(0, limit, shape) if whole else random.random(shape, np.float32)
        batch[spec.name] = values.astype(spec.dtype)
    return batch


def _build(model: Any, config: dict[str, Any]) -> None:
    """A Sequential that was saved without an input has no weights until it is built."""
    settings = config["config"]
    shape = settings.get("build_input_shape") if isinstance(settings, dict) else None
    if not model.built and shape:
        model.build(tuple(shape))


def _layer_of(tensor: Any) -> str:
    return tensor._keras_history.operation.name


def _with_origins(config: dict[str, Any]) -> dict[str, Any]:
    """The architecture with the modules by which Keras 3 finds classes and operations.

    It writes them into JSON, but not into .h5 files, where an operation would be taken for the layer of its name, and
    the score_mode "dot" of an Attention for the function of that name.
    """
    return {**_named(_module_of_model(config)), **_with_modules(config)}


def _with_modules(layer: dict[str, Any]) -> dict[str, Any]:
    config = layer["config"]
    if "module" not in layer and is_operation(layer):
        return {**layer, "module": _module_of(layer["class_name"]), "registered_name": layer["class_name"]}
    if not isinstance(config, dict) or not isinstance(config.get("layers"), list):
        return {**_named("keras.layers"), **layer} if _is_of_keras(layer["class_name"]) else layer
    members = {**config, "layers": [_with_modules(member) for member in config["layers"]]}
    return {**_named(_module_of_model(layer)), **layer, "config": members}


def _named(module: str) -> dict[str, Any]:
    return {"module": module, "registered_name": None}


def _module_of_model(model: dict[str, Any]) -> str:
    return "keras.src.models.functional" if model["class_name"] == "Functional" else "keras"


def _is_of_keras(kind: str) -> bool:
    import keras

    return isinstance(vars(keras.layers).get(kind), type)


def _module_of(operation: str) -> str | None:
    from keras.src import ops

    modules = (ops.numpy, ops.nn, ops.math, ops.core, ops.image, ops.linalg, ops.einops)
    return next((module.__name__ for module in modules if isinstance(vars(module).get(operation), type)), None)


def _is_embedding(layer: dict[str, Any]) -> bool:
    return layer["class_name"] == "Embedding"
