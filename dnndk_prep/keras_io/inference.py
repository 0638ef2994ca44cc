"""The inference graph of a Keras model, built by Keras 2 in a TensorFlow 1 graph.

Keras 2 gives what the DPU tools read: nodes named after their layers, fused batch norms, a Flatten of one Reshape and
loops that TensorFlow 1 knows. Nothing is run: the weights go from the file into plain arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import h5py
import numpy as np
import tensorflow as tf
import tf_keras
from tensorflow.core.framework.graph_pb2 import GraphDef
from tf_keras.src import backend
from tf_keras.src.engine import base_layer, base_layer_v1
from tf_keras.src.layers.rnn import gru_v1, lstm_v1
from tf_keras.src.saving.legacy import hdf5_format

from dnndk_prep.errors import ModelFileError, StageError, UsageError, nearest
from dnndk_prep.graph.artifact import TensorSpec
from dnndk_prep.graph.freeze import VARIABLES, prune
from dnndk_prep.graph.names import Found, real_op, rename
from dnndk_prep.graph.topology import by_name
from dnndk_prep.keras_io.activations import KERAS3_ACTIVATIONS, PLAIN_ACTIVATIONS
from dnndk_prep.keras_io.architecture import MODELS, expect_complete, layers_of
from dnndk_prep.keras_io.finite import finite
from dnndk_prep.keras_io.keras2 import to_keras2
from dnndk_prep.keras_io.limits import check_tensors, check_weights
from dnndk_prep.keras_io.load import KerasSource, open_hdf5
from dnndk_prep.keras_io.op_layer import Operation
from dnndk_prep.keras_io.ops import OPERATION, without_tf_lambdas
from dnndk_prep.keras_io.plain_layers import PLAIN_LAYERS, plain_convolutions
from dnndk_prep.keras_io.precision import in_single_precision
from dnndk_prep.keras_io.scan.sizes import MAX_UNROLLED, unrolled_too_far
from dnndk_prep.keras_io.settings import check_settings
from dnndk_prep.keras_io.supported import check_supported
from dnndk_prep.keras_io.through_keras import first_line
from dnndk_prep.keras_io.valid_names import with_valid_names

learning_phase = backend.deprecated_internal_learning_phase_scope

# The layers of Keras 2 for TensorFlow 2 put their loops into library functions, which TensorFlow 1.9 cannot run.
LOOPING_LAYERS = {"LSTM": lstm_v1.LSTM, "GRU": gru_v1.GRU}
# What Keras calls the boolean that tells training from inference, in graphs where it is fed.
LEARNING_PHASE = "keras_learning_phase"
OWN_OBJECTS = {
    **LOOPING_LAYERS,
    **PLAIN_LAYERS,
    **KERAS3_ACTIVATIONS,
    **PLAIN_ACTIVATIONS,
    OPERATION: Operation,
}
RECURRENT = ("LSTM", "GRU", "SimpleRNN", "RNN", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D")


@dataclass(frozen=True)
class InferenceGraph:
    """What a model computes in inference: its graph with variables, and their values by the variable's node name.

    input_layers and output_layers are Keras' names, in the order of `inputs` and `outputs`. notes: what the graph does
    otherwise than the model, in words.
    """

    graph_def: GraphDef
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    variables: Mapping[str, np.ndarray]
    input_layers: tuple[str, ...]
    output_layers: tuple[str, ...]
    notes: tuple[str, ...] = ()


def build_inference(
    source: KerasSource, feed_learning_phase: bool = False, unroll: bool = False, kept: Sequence[str] = ()
) -> InferenceGraph:
    """The model of `source` with learning phase 0: no training node, no Saver, the batch axis free.

    With `feed_learning_phase` the graph has both branches, and the boolean keras_learning_phase chooses: false, its
    default, is inference; it is no part of `inputs`. unroll: recurrent layers become one copy of their cell a step
    instead of a loop. kept: variables that will stay out of the frozen graph (freeze_graph.keep_vars). A stateful layer
    starts from zeros in every run.

    The same model gives the same graph, whatever files it came in and whatever was built before. Keras 2 changes its
    classes when it builds in a graph: models that were made with tf_keras before cannot predict afterwards. Raises
    ModelFileError where Keras 2 cannot express the model or the weights do not match the architecture, and StageError
    where weights or activations are too large.
    """
    with open_hdf5(source.weights) as file:
        check_weights(file.get("model_weights", file), source.file, kept)
    config, old_names = _converted(source)
    config, precisions = in_single_precision(config)
    if unroll:
        config = _unrolled(config)
    custom = source.custom.scope(tf_keras, source.config)
    # Names of layers and ops are counted up in a process; they must not depend on what it did before.
    backend.clear_session()
    graph = tf.Graph()
    with _phase_to_feed(graph) if feed_learning_phase else _inference_mode(graph):
        model = _build(config, source.file, custom)
        check_settings(model, config, source.file)
        with open_hdf5(source.weights) as file:
            variables = _variables(model, file.get("model_weights", file), source.file, old_names)
        check_tensors(model.inputs, source.file)
        states, notes = _states(model)
        variables |= states
        result = _inference_graph(graph, model, variables, old_names, [LEARNING_PHASE] * feed_learning_phase)
    backend.clear_session()
    if precisions:
        notes = (*notes, f"the model is of {', '.join(precisions)}; its graph computes in float32")
    return replace(result, notes=notes)


def renamed(built: InferenceGraph, inputs: dict[str, str], outputs: dict[str, str]) -> InferenceGraph:
    """The graph with new names for inputs and outputs; a key is the layer's name or the op's.

    Raises UsageError for a key that is neither, with the nearest.
    """
    names = {
        **_new_names("graph.inputs", inputs, built.input_layers, built.inputs),
        **_new_names("graph.outputs", outputs, built.output_layers, built.outputs),
    }
    if not names:
        return built
    return replace(
        built,
        graph_def=rename(built.graph_def, names),
        inputs=tuple(replace(spec, name=names.get(spec.name, spec.name)) for spec in built.inputs),
        outputs=tuple(replace(spec, name=names.get(spec.name, spec.name)) for spec in built.outputs),
    )


def chosen(built: InferenceGraph) -> tuple[list[Found], list[Found]]:
    """The inputs and outputs with the reason for the choice, for op_names.txt."""
    inputs = [
        Found(spec.name, f"the Keras model's input {i}, layer {layer!r}")
        for i, (spec, layer) in enumerate(zip(built.inputs, built.input_layers, strict=True), 1)
    ]
    outputs = [
        Found(spec.name, f"the Keras model's output {i}: what layer {layer!r} gives")
        for i, (spec, layer) in enumerate(zip(built.outputs, built.output_layers, strict=True), 1)
    ]
    return inputs, outputs


def _converted(source: KerasSource) -> tuple[dict[str, Any], dict[str, str]]:
    """The architecture as Keras 2 builds it, and the old names of the layers that had to get new ones."""
    with expect_complete(source.file):
        check_supported(source.config, source.file, source.custom.names)
        config = to_keras2(source.config) if source.is_keras3 else without_tf_lambdas(_without_modules(source.config))
        return with_valid_names(_with_input(config))


def _unrolled(config: dict[str, Any]) -> dict[str, Any]:
    result = deepcopy(config)
    for layer in layers_of(result):
        if layer["class_name"] in RECURRENT:
            layer["config"]["unroll"] = True
    settings = [layer["config"] for layer in layers_of(result) if isinstance(layer.get("config"), dict)]
    if (text := unrolled_too_far(settings)) is not None:
        raise StageError(
            "the recurrent layers have too many steps to be unrolled",
            expected=f"at most {MAX_UNROLLED} steps, each of which becomes a copy of the cell",
            found=text,
            remedy="leave keras_2_tf.unroll out: the loop becomes TensorFlow 1 control flow",
        )
    return result


def _states(model: tf_keras.Model) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """The variables in which stateful layers keep their state, at zero as after reset_states, and what to say of it."""
    values, notes = {}, []
    for layer in model._flatten_layers():
        if getattr(layer, "stateful", False) and isinstance(layer, tf_keras.layers.RNN):
            for variable in tf.nest.flatten(layer.states):
                values[variable.op.name] = np.zeros(variable.shape, variable.dtype.as_numpy_dtype)
            notes.append(f"{layer.name} is stateful; in the graph its state starts from zeros in every run")
    return values, tuple(notes)


def _without_modules(config: dict[str, Any]) -> dict[str, Any]:
    """What an .h5 holds, where JSON tells more.

    A module would hide LOOPING_LAYERS, and with build_config a layer's variables come before their turn.
    """
    result = deepcopy(config)
    for layer in layers_of(result):
        for key in ("module", "registered_name", "build_config"):
            layer.pop(key, None)
        # A class that was registered by its package; custom classes go by their names.
        layer["class_name"] = layer["class_name"].rpartition(">")[2]
    return result


def _with_input(config: dict[str, Any]) -> dict[str, Any]:
    """A Sequential without an input layer gets one: outside eager mode Keras 2 cannot build it later."""
    if config["class_name"] != "Sequential":
        return config
    settings = config["config"] if isinstance(config["config"], dict) else {"layers": config["config"]}
    first = settings["layers"][0]
    if first["class_name"] in ("InputLayer", *MODELS) or first["config"].get("batch_input_shape"):
        return config
    shape = settings.get("build_input_shape")
    if not shape:
        raise ModelFileError(
            "the Sequential model does not tell the shape of its input",
            expected="an Input layer, or a model that was built before it was saved",
            found=f"{first['class_name']} {first['config'].get('name')!r} as first layer",
            remedy="put keras.Input(shape=...) first, and save the model again",
        )
    name = f"{first['config'].get('name', first['class_name'].lower())}_input"
    entry = {
        "class_name": "InputLayer",
        "config": {"batch_input_shape": [None, *shape[1:]], "dtype": "float32", "sparse": False, "name": name},
    }
    return {"class_name": "Sequential", "config": {**settings, "layers": [entry, *settings["layers"]]}}


@contextmanager
def _inference_mode(graph: tf.Graph) -> Iterator[None]:
    # Outside the graph, for layers whose own default is training; inside, for those that ask the graph.
    with learning_phase(0), _loops_of_tensorflow1(), graph.as_default(), learning_phase(0), _every_step_kept():
        yield


@contextmanager
def _phase_to_feed(graph: tf.Graph) -> Iterator[None]:
    with _loops_of_tensorflow1(), graph.as_default(), _every_step_kept():
        # Where no phase is set, the first who asks for it makes the placeholder, with false as its default.
        backend.learning_phase()
        yield


@contextmanager
def _loops_of_tensorflow1() -> Iterator[None]:
    is_v2 = tf.compat.v1.control_flow_v2_enabled()
    tf.compat.v1.disable_control_flow_v2()
    try:
        yield
    finally:
        if is_v2:
            tf.compat.v1.enable_control_flow_v2()


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


def _build(config: dict[str, Any], file: str, custom: Mapping[str, Any]) -> tf_keras.Model:
    failed: list[str] = []
    try:
        objects = tf_keras.utils.custom_object_scope({**OWN_OBJECTS, **custom})
        with objects, _noting_failures(failed), plain_convolutions():
            model = tf_keras.layers.deserialize(finite(config))
    # Keras raises whatever it meets; all of it means that this architecture cannot be built.
    except Exception as error:
        with tf_keras.utils.custom_object_scope({**OWN_OBJECTS, **custom}):
            place = failed[0] if failed else _not_readable(config, str(error))
        raise ModelFileError(
            f"Keras 2 cannot build {place or 'the model'} in {file}",
            expected="layers and settings that Keras 2 has",
            found=_cause(error),
            remedy="build the model without that layer or setting, and save it again",
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
def _noting_failures(failed: list[str]) -> Iterator[None]:
    """Puts the layer into `failed` whose call fails; the innermost comes first."""
    # In a graph Keras 2 puts the layers of TensorFlow 1 beneath its classes.
    originals = {kind: kind.__call__ for kind in (base_layer.Layer, base_layer_v1.Layer)}

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
    return text.splitlines()[0][:300] if text else first_line(error)


def _variables(
    model: tf_keras.Model, group: h5py.Group, file: str, old_names: Mapping[str, str]
) -> dict[str, np.ndarray]:
    """The stored weights by the name of their variable."""
    version = _attribute(group, "keras_version", "1")
    backend_name = _attribute(group, "backend", "")
    values: dict[str, np.ndarray] = {}
    for layer, stored in _pairs(model, group, file, old_names):
        wanted = hdf5_format._legacy_weights(layer)
        names = hdf5_format.load_attributes_from_hdf5_group(group[stored], "weight_names")
        found = [np.asarray(group[stored][name]) for name in names]
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
            values[variable.op.name] = np.ascontiguousarray(value, variable.dtype.as_numpy_dtype)
    return values


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


def _inference_graph(
    graph: tf.Graph,
    model: tf_keras.Model,
    variables: dict[str, np.ndarray],
    old_names: Mapping[str, str],
    also: Sequence[str],
) -> InferenceGraph:
    graph_def = graph.as_graph_def()
    inputs = [tensor.op.name for tensor in model.inputs]
    outputs = _output_names(graph_def, [tensor.name.removesuffix(":0") for tensor in model.outputs])
    named = [node.name for node in graph_def.node if node.op in VARIABLES]
    missing = [name for name in named if name not in variables]
    if missing:
        raise ModelFileError(
            "the weights do not hold all variables of the model",
            expected=f"{len(named)} variables",
            found=f"no value for {', '.join(missing[:5])}",
            remedy="save the model again",
        )
    return InferenceGraph(
        graph_def=prune(graph_def, [*inputs, *outputs, *named, *also]),
        inputs=tuple(map(_spec, inputs, model.inputs)),
        outputs=tuple(map(_spec, outputs, model.outputs)),
        variables={name: variables[name] for name in named},
        input_layers=tuple(old_names.get(name, name) for name in model.input_names),
        output_layers=tuple(old_names.get(name, name) for name in model.output_names),
    )


def _output_names(graph_def: GraphDef, names: Sequence[str]) -> list[str]:
    """The op of the layer behind each output: nobody looks for a model's result in an Identity.

    Where two outputs would share an op, the second keeps its own.
    """
    nodes = by_name(graph_def)
    result: list[str] = []
    for name in names:
        real = real_op(nodes, name)
        result.append(name if real in result or real in names else real)
    return result


def _spec(name: str, tensor: tf.Tensor) -> TensorSpec:
    return TensorSpec(name, tuple(tensor.shape.as_list()), tensor.dtype.name)


def _attribute(group: h5py.Group, name: str, default: str) -> str:
    value = group.attrs.get(name, default)
    return value.decode() if isinstance(value, bytes) else str(value)


def _new_names(
    key: str, wanted: dict[str, str], layers: tuple[str, ...], specs: tuple[TensorSpec, ...]
) -> dict[str, str]:
    ops = {spec.name: spec.name for spec in specs} | {
        layer: spec.name for layer, spec in zip(layers, specs, strict=True)
    }
    for name in wanted:
        if name not in ops:
            raise UsageError(
                f"{key}: the model has no {name!r}",
                expected=", ".join(layers),
                found=name,
                remedy=f"did you mean {', '.join(nearest(name, ops)) or ', '.join(layers)}?",
            )
    return {ops[name]: new for name, new in wanted.items()}
