"""The inference graph of a Keras model, built by Keras 2 in a TensorFlow 1 graph.

Keras 2 gives what the DPU tools read: nodes named after their layers, fused batch norms, a Flatten of one Reshape and
loops that TensorFlow 1 knows. Nothing is run: the weights go from the file into plain arrays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from tensorflow.core.framework.graph_pb2 import GraphDef
from tf_keras.src import backend

from dnndk_prep.errors import DnndkPrepError, ModelFileError, StageError, UsageError, nearest
from dnndk_prep.graph.artifact import TensorSpec
from dnndk_prep.graph.fixed_batch import with_batch
from dnndk_prep.graph.freeze import VARIABLES, prune
from dnndk_prep.graph.names import Found, real_op, rename, renamed_tensor
from dnndk_prep.graph.topology import by_name, node_of
from dnndk_prep.keras_io.application_layers import application_layers
from dnndk_prep.keras_io.architecture import MODELS, expect_complete, layers_of
from dnndk_prep.keras_io.build_keras2 import build_keras2, inference_mode, phase_to_feed
from dnndk_prep.keras_io.inference_graph import InferenceGraph
from dnndk_prep.keras_io.initial_values import UNTOUCHED, without_initial_values
from dnndk_prep.keras_io.keras2 import to_keras2
from dnndk_prep.keras_io.keras3_masks import KERAS3_MASKS
from dnndk_prep.keras_io.limits import check_tensors, check_weights
from dnndk_prep.keras_io.load import KerasSource, open_hdf5
from dnndk_prep.keras_io.ops import without_tf_lambdas
from dnndk_prep.keras_io.precision import in_single_precision
from dnndk_prep.keras_io.scan.sizes import MAX_UNROLLED, unrolled_too_far
from dnndk_prep.keras_io.settings import check_settings
from dnndk_prep.keras_io.supported import check_keras2_form, check_supported, quantized_layers
from dnndk_prep.keras_io.traced import traced
from dnndk_prep.keras_io.valid_names import with_valid_names
from dnndk_prep.keras_io.variable_values import states_of, variable_values

# What Keras calls the boolean that tells training from inference, in graphs where it is fed.
LEARNING_PHASE = "keras_learning_phase"
RECURRENT = ("LSTM", "GRU", "SimpleRNN", "RNN", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D")


class _NoFormError(Exception):
    """Keras 2 has no form for a model of Keras 3, for the reason in `why`."""

    def __init__(self, why: DnndkPrepError) -> None:
        super().__init__(str(why))
        self.why = why


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
    ModelFileError where Keras 2 cannot build a model of Keras 2, where neither Keras 2 nor a trace by Keras 3 has a
    form for a model of Keras 3, and where the weights do not match the architecture; StageError where weights or
    activations are too large.
    """
    with open_hdf5(source.weights) as file:
        check_weights(file.get("model_weights", file), source.file, kept)
    if unroll:
        with expect_complete(source.file):
            source = replace(source, config=_unrolled(source.config))
    check_supported(source.config, source.file, source.custom.names, source.keras_version)
    try:
        result = _by_keras2(source, feed_learning_phase)
    except _NoFormError as error:
        if feed_learning_phase:
            raise _no_phase(source, error.why) from error
        result = traced(source, error.why)
    if precisions := in_single_precision(source.config)[1]:
        note = f"the model is of {', '.join(precisions)}; its graph computes in float32"
        result = replace(result, notes=(*result.notes, note))
    return result


def _by_keras2(source: KerasSource, feed_learning_phase: bool) -> InferenceGraph:
    with _form_wanted(source):
        config, old_names = keras2_architecture(source)
        own = {**application_layers(tf_keras), **(KERAS3_MASKS if source.is_keras3 else {})}
        custom = {**own, **source.custom.scope(tf_keras, source.config)}
    config, _ = in_single_precision(config)
    # Names of layers and ops are counted up in a process; they must not depend on what it did before.
    backend.clear_session()
    graph = tf.Graph()
    try:
        with phase_to_feed(graph) if feed_learning_phase else inference_mode(graph):
            with _form_wanted(source):
                cheap = config if source.custom.objects else without_initial_values(config, is_keras3=False)
                model = build_keras2(cheap, source.file, {**custom, **UNTOUCHED})
                check_settings(model, config, source.file)
            with open_hdf5(source.weights) as file:
                variables = variable_values(model, file.get("model_weights", file), source.file, old_names)
            largest = check_tensors(model.inputs, source.file)
            states, notes = states_of(model)
            variables |= states
            result = _inference_graph(graph, model, variables, old_names, [LEARNING_PHASE] * feed_learning_phase)
    finally:
        backend.clear_session()
    return replace(result, notes=notes, largest=largest)


@contextmanager
def _form_wanted(source: KerasSource) -> Iterator[None]:
    """What Keras 2 cannot hold of a model of Keras 3 is a reason to trace it; quantized weights it has to refuse."""
    try:
        yield
    except (ModelFileError, UsageError) as error:
        if not source.is_keras3 or quantized_layers(source.config):
            raise
        raise _NoFormError(error) from error


def _no_phase(source: KerasSource, why: DnndkPrepError) -> StageError:
    return StageError(
        f"the model in {source.file} has no graph with a learning phase that is fed",
        expected="a model that Keras 2 can build",
        found=f"{why.problem}: {why.found}",
        remedy="leave saved_model.learning_phase out: a traced model is for inference alone",
    )


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
        inputs=tuple(replace(spec, name=renamed_tensor(spec.name, names)) for spec in built.inputs),
        outputs=tuple(replace(spec, name=renamed_tensor(spec.name, names)) for spec in built.outputs),
    )


def fixed(built: InferenceGraph, batch: int | None) -> InferenceGraph:
    """The graph for `batch` images at a time; any number for None. Raises UsageError as with_batch does."""
    if batch is None:
        return built
    graph_def, inputs, outputs = with_batch(built.graph_def, built.inputs, built.outputs, batch)
    return replace(built, graph_def=graph_def, inputs=inputs, outputs=outputs)


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


def keras2_architecture(source: KerasSource) -> tuple[dict[str, Any], dict[str, str]]:
    """The architecture as Keras 2 builds it, and the old names of the layers that had to get new ones.

    Raises ModelFileError where Keras 2 has no form for a layer.
    """
    with expect_complete(source.file):
        check_keras2_form(source.config, source.file, source.custom.names)
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
    if tensor.shape.rank is None:
        raise ModelFileError(
            f"what {name} gives has no fixed number of axes",
            expected="inputs and outputs whose axes are known; their sizes may be free",
            found="a shape that depends on the values",
            remedy="build the model so that its outputs have a shape: tf.squeeze with axis, tf.reshape with sizes",
        )
    return TensorSpec(name, tuple(tensor.shape.as_list()), tensor.dtype.name)


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
                code="K2D-0004",
            )
        if ":" in ops[name]:
            raise UsageError(
                f"{key}: {name} is a further output of an op, which has one name for all of them",
                expected="a name for the op",
                found=f"{name} is {ops[name]}",
                remedy=f"rename {node_of(ops[name])}, and its outputs are NEW, NEW:1, ...",
            )
    return {ops[name]: new for name, new in wanted.items()}
