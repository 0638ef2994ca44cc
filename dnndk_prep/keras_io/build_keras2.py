"""Building a Keras 2 model from its architecture in a TensorFlow 1 graph; the layer that cannot be built is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import tensorflow as tf
import tf_keras
from tf_keras.src import backend
from tf_keras.src.engine import base_layer, base_layer_v1
from tf_keras.src.layers.preprocessing import image_preprocessing
from tf_keras.src.layers.rnn import gru_v1, lstm_v1

from dnndk_prep.errors import DnndkPrepError, ModelFileError
from dnndk_prep.keras_io.activations import KERAS3_ACTIVATIONS, PLAIN_ACTIVATIONS
from dnndk_prep.keras_io.architecture import MODELS, layers_of
from dnndk_prep.keras_io.built_limits import limited_calls
from dnndk_prep.keras_io.finite import finite
from dnndk_prep.keras_io.op_layer import Operation
from dnndk_prep.keras_io.ops import OPERATION
from dnndk_prep.keras_io.plain_layers import PLAIN_LAYERS, plain_convolutions
from dnndk_prep.said import first_line, gist

learning_phase = backend.deprecated_internal_learning_phase_scope

# In a graph Keras 2 puts the layers of TensorFlow 1 beneath its classes.
LAYERS = (base_layer.Layer, base_layer_v1.Layer)
# The layers of Keras 2 for TensorFlow 2 put their loops into library functions, which TensorFlow 1.9 cannot run.
LOOPING_LAYERS = {"LSTM": lstm_v1.LSTM, "GRU": gru_v1.GRU}
OWN_OBJECTS = {
    **LOOPING_LAYERS,
    **PLAIN_LAYERS,
    **KERAS3_ACTIVATIONS,
    **PLAIN_ACTIVATIONS,
    OPERATION: Operation,
}


def build_keras2(config: dict[str, Any], file: str, custom: Mapping[str, Any]) -> tf_keras.Model:
    failed: list[str] = []
    try:
        objects = tf_keras.utils.custom_object_scope({**OWN_OBJECTS, **custom})
        with objects, _noting_failures(failed), limited_calls(LAYERS), plain_convolutions():
            model = tf_keras.layers.deserialize(finite(config))
    except DnndkPrepError:
        raise
    # Keras raises whatever it meets; all of it means that this architecture cannot be built.
    except Exception as error:
        with tf_keras.utils.custom_object_scope({**OWN_OBJECTS, **custom}):
            place = failed[0] if failed else _not_readable(config, str(error))
        raise ModelFileError(
            f"Keras 2 cannot build {place or 'the model'} in {file}",
            expected="layers and settings that Keras 2 has",
            found=_cause(error),
            remedy="build the model without that layer or setting, and save it again",
            code="K2D-0006",
        ) from error
    if not getattr(model, "inputs", None):
        raise ModelFileError(
            f"the model in {file} has no inputs",
            expected="a Functional or Sequential model",
            found=config["class_name"],
            remedy="build it with keras.Input and keras.Model, and save it again",
        )
    return model


@contextmanager
def inference_mode(graph: tf.Graph) -> Iterator[None]:
    # Outside the graph, for layers whose own default is training; inside, for those that ask the graph.
    with learning_phase(0), loops_of_tensorflow1(), graph.as_default(), learning_phase(0), _every_step_kept():
        yield


@contextmanager
def phase_to_feed(graph: tf.Graph) -> Iterator[None]:
    with loops_of_tensorflow1(), graph.as_default(), _every_step_kept(), _no_augmentation():
        # Where no phase is set, the first who asks for it makes the placeholder, with false as its default.
        backend.learning_phase()
        yield


@contextmanager
def loops_of_tensorflow1() -> Iterator[None]:
    """Loops are written as TensorFlow 1 has them: Enter, Switch, Merge, Exit."""
    is_v2 = tf.compat.v1.control_flow_v2_enabled()
    tf.compat.v1.disable_control_flow_v2()
    try:
        yield
    finally:
        if is_v2:
            tf.compat.v1.enable_control_flow_v2()


@contextmanager
def _no_augmentation() -> Iterator[None]:
    """Layers that augment images do what they do in inference: they train by default, and never ask for the phase."""
    originals = {layer: layer.call for layer in vars(image_preprocessing).values() if _augments(layer)}
    for layer, original in originals.items():
        layer.call = _in_inference(original)
    try:
        yield
    finally:
        for layer, original in originals.items():
            layer.call = original


def _augments(item: Any) -> bool:
    is_layer = isinstance(item, type) and issubclass(item, base_layer.BaseRandomLayer)
    return is_layer and item.__module__ == image_preprocessing.__name__ and "call" in vars(item)


def _in_inference(call: Callable[..., Any]) -> Callable[..., Any]:
    def without_training(self: Any, inputs: Any, training: bool = False) -> Any:
        return call(self, inputs, training=False)

    return without_training


@contextmanager
def _every_step_kept() -> Iterator[None]:
    """Recurrent layers keep what every step gives, and take the last of it.

    Where only the last is asked for, Keras 2 writes each step over the one before: TensorFlow 1's TensorArray refuses.
    """
    original = backend.rnn

    def rnn(*args: Any, **kwargs: Any) -> Any:
        return original(*args, **{**kwargs, "return_all_outputs": True})

    backend.rnn = rnn
    try:
        yield
    finally:
        backend.rnn = original


@contextmanager
def _noting_failures(failed: list[str]) -> Iterator[None]:
    """Puts the layer into `failed` whose call fails; the innermost comes first."""
    originals = {kind: kind.__call__ for kind in LAYERS}

    def noting(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            try:
                return original(self, *args, **kwargs)
            except Exception:
                failed.append(f"the layer {self.name!r} ({type(self).__name__})")
                raise

        return call

    for kind, original in originals.items():
        kind.__call__ = noting(original)
    try:
        yield
    finally:
        for kind, original in originals.items():
            kind.__call__ = original


def _not_readable(config: dict[str, Any], said: str) -> str:
    """The first layer that Keras 2 cannot make from its settings by itself, or whose class it says it does not know."""
    layers = [layer for layer in layers_of(config) if layer["class_name"] not in MODELS]
    for layer in layers:
        try:
            tf_keras.layers.deserialize({"class_name": layer["class_name"], "config": deepcopy(layer["config"])})
        # The same failures as of the whole model.
        except Exception:
            return _called(layer)
    return next((_called(layer) for layer in layers if f"'{layer['class_name']}'" in said), "")


def _called(layer: dict[str, Any]) -> str:
    return f"the layer {layer['config'].get('name')!r} ({layer['class_name']})"


def _cause(error: BaseException) -> str:
    """What Keras says, without the settings that it repeats before it says what is wrong with them."""
    text = str(error).rpartition("Exception encountered: ")[2].strip()
    return gist(text) or first_line(error)
