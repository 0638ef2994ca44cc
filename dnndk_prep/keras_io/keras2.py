"""A Keras 3 architecture as a Keras 2 one: pure functions on config dicts, driven by small tables.

A key that Keras 2 does not have is renamed, or dropped where it holds the value that Keras 2 always had; any other
value is an error that names layer, key and value, for dropping it would change what the model computes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from dnndk_prep.errors import ModelFileError
from dnndk_prep.keras_io.architecture import INNER_LAYERS, MODELS, is_operation
from dnndk_prep.keras_io.masks import without_masks
from dnndk_prep.keras_io.ops import OPERATION, Config, from_keras3, is_tensor

EVERY_LAYER = "every layer"
ANY_VALUE = object()

RENAMED: Mapping[tuple[str, str], str] = {
    ("InputLayer", "batch_shape"): "batch_input_shape",
    ("LeakyReLU", "negative_slope"): "alpha",
}

SEEDED = (
    *("Attention", "AdditiveAttention", "LSTM", "GRU", "LSTMCell", "GRUCell", "SimpleRNNCell"),
    *("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"),
)
# Layers that in Keras 2 have no data_format.
CHANNELS_LAST = (
    # Not RandomCrop, which Keras 3 leaves out in inference, and Keras 2 puts in the middle.
    *("CenterCrop", "ZeroPadding1D", "RandomBrightness"),
    *("RandomFlip", "RandomRotation", "RandomTranslation", "RandomZoom"),
)

# Class -> key -> the value with which Keras 3 does what Keras 2 does.
DROPPED: Mapping[str, Mapping[str, Any]] = {
    EVERY_LAYER: {
        "optional": False,
        "quantization_config": None,
        "autocast": True,
        "rms_scaling": False,
    },
    "BatchNormalization": {
        "synchronized": False,
        "renorm": False,
        # Without renorm they have no effect.
        "renorm_clipping": ANY_VALUE,
        "renorm_momentum": ANY_VALUE,
    },
    "MultiHeadAttention": {"use_gate": False, "sliding_window": None, "seed": ANY_VALUE, "flash_attention": ANY_VALUE},
    # A seed has no effect outside training.
    **{kind: {"seed": ANY_VALUE} for kind in SEEDED},
    **{kind: {"data_format": "channels_last"} for kind in CHANNELS_LAST},
    # They do nothing outside training.
    **{kind: {"data_format": ANY_VALUE} for kind in ("SpatialDropout2D", "SpatialDropout3D")},
    "RandomContrast": {"data_format": "channels_last", "value_range": ANY_VALUE},
    "AlphaDropout": {"noise_shape": None},
    "Resizing": {
        "data_format": "channels_last",
        "pad_to_aspect_ratio": False,
        "antialias": False,
        "fill_mode": ANY_VALUE,
        "fill_value": ANY_VALUE,
    },
    "Conv3DTranspose": {"dilation_rate": [1, 1, 1]},
}

# Keras 2 learns these shapes when the layer is called.
ADDED: Mapping[str, Config] = {"MultiHeadAttention": {"query_shape": None, "key_shape": None, "value_shape": None}}

# What Keras 2 takes by name after the first tensor, where Keras 3 may have been given it by place.
POSITIONAL: Mapping[str, tuple[str, ...]] = {
    "MultiHeadAttention": ("query", "value", "key"),
    **dict.fromkeys(("LSTM", "GRU", "SimpleRNN"), ("sequence", "initial_state")),
}

# What a model's own config holds, beside its layers; a Sequential tells the type of its first input, too.
MODEL_KEYS = frozenset(["name", "trainable", "layers", "input_layers", "output_layers", "build_input_shape", "dtype"])

INITIALIZER_KEYS = ("input_axes", "output_axes")

# Keras 3 name -> what computes the same in Keras 2: a name of Keras 2's, or one of keras_io.activations.
# Keras 2's hard_sigmoid is another function (slope 0.2 instead of 1/6).
ACTIVATIONS: Mapping[str, str] = {
    **{
        name: name
        for name in (
            *("linear", "relu", "elu", "selu", "softmax", "softplus", "softsign", "tanh", "sigmoid", "exponential"),
            *("gelu", "mish", "swish"),
        )
    },
    "silu": "swish",
    "relu6": "keras3_relu6",
    "hard_sigmoid": "keras3_hard_sigmoid",
    "hard_silu": "keras3_hard_silu",
    "hard_swish": "keras3_hard_silu",
    "leaky_relu": "keras3_leaky_relu",
    "log_softmax": "keras3_log_softmax",
}


# Layers that Keras takes as activations, too: Conv2D(activation=LeakyReLU(0.3)).
ACTIVATION_LAYERS = ("ReLU", "LeakyReLU", "ELU", "Softmax")


def to_keras2(architecture: Config) -> Config:
    """The architecture (a dict with class_name and config) as Keras 2 reads it, which finds its layers' masks itself.

    Raises ModelFileError naming layer, key and value where Keras 2 has no form for it.
    """
    return _layer(without_masks(architecture))


def _layer(layer: Config) -> Config:
    kind, config = layer["class_name"], layer["config"]
    if kind in MODELS:
        return {"class_name": kind, "config": _model(kind, config)}
    name = config.get("name", kind)
    return {"class_name": kind, "config": dict(_settings(kind, name, config))}


def _settings(kind: str, name: str, config: Config) -> Iterator[tuple[str, Any]]:
    dropped = {**DROPPED[EVERY_LAYER], **DROPPED.get(kind, {})}
    for key, value in config.items():
        if key in dropped:
            if dropped[key] is not ANY_VALUE and _plain(value) != dropped[key]:
                raise _no_form(name, key, value)
        else:
            yield RENAMED.get((kind, key), key), _value(name, key, value)
    yield from ADDED.get(kind, {}).items()


def _value(name: str, key: str, value: Any) -> Any:
    if key in ("activation", "recurrent_activation"):
        return _activation(name, key, value)
    if isinstance(value, list | tuple):
        return [_value(name, key, item) for item in value]
    if not isinstance(value, dict):
        return value
    if key in INNER_LAYERS:
        return _layer(value)
    if value.get("class_name") == "DTypePolicy":
        return value["config"]["name"]
    if "DType" in str(value.get("class_name")):
        raise _no_form(name, key, value["class_name"])
    return {k: _initializer(name, key, v) if k == "config" else v for k, v in value.items()}


def _initializer(name: str, key: str, config: Any) -> Any:
    if not isinstance(config, dict):
        return config
    for dropped in INITIALIZER_KEYS:
        if config.get(dropped) is not None:
            raise _no_form(name, f"{key}.{dropped}", config[dropped])
    return {k: v for k, v in config.items() if k not in INITIALIZER_KEYS}


def _activation(name: str, key: str, value: Any) -> Any:
    if isinstance(value, dict) and value.get("class_name") in ACTIVATION_LAYERS:
        return _layer(value)
    if isinstance(value, dict):
        # A function of Keras' own written out: {"class_name": "function", "config": "relu"}.
        value = value.get("config")
    if value is None:
        return None
    if not isinstance(value, str) or value not in ACTIVATIONS:
        raise _no_form(name, key, value)
    return ACTIVATIONS[value]


def _model(kind: str, config: Config) -> Config:
    for key in config.keys() - MODEL_KEYS:
        if config[key] is not None:
            raise _no_form(config["name"], key, config[key])
    layers = [_operation(layer) if is_operation(layer) else _layer(layer) for layer in config["layers"]]
    result: Config = {"name": config["name"], "layers": layers}
    if "trainable" in config:
        result["trainable"] = config["trainable"]
    if kind == "Sequential":
        if config.get("build_input_shape"):
            result["build_input_shape"] = _plain(config["build_input_shape"])
        return result
    members = {layer["config"]["name"]: layer for layer in layers}
    for layer, old in zip(layers, config["layers"], strict=True):
        layer["name"] = layer["config"]["name"]
        if layer["class_name"] == OPERATION:
            tensors = [[*_tensor(tensor, members), {}] for tensor in layer.pop("tensors")]
            layer["inbound_nodes"] = [tensors]
        else:
            layer["inbound_nodes"] = [_call(layer, node, members) for node in old["inbound_nodes"]]
    result["input_layers"] = _ends(config["input_layers"], lambda end: end)
    result["output_layers"] = _ends(config["output_layers"], lambda end: _output(end, members))
    return result


def _operation(layer: Config) -> Config:
    config, tensors = from_keras3(layer)
    return {"class_name": OPERATION, "config": config, "tensors": tensors}


def _call(layer: Config, node: Any, members: Mapping[str, Config]) -> list[Any]:
    """One call of a layer: Keras 3's {args, kwargs} as Keras 2's list of [layer, call, tensor, other arguments]."""
    name, arguments, others = layer["name"], list(node["args"]), dict(node["kwargs"])
    places = POSITIONAL.get(layer["class_name"], ())
    others = {**dict(zip(places[1:], arguments[1:], strict=False)), **others}
    arguments = arguments[:1] + arguments[max(1, len(places)) :]
    # Keras 3 notes the `training` of the moment; what predict passes on counts more.
    others = {key: value for key, value in others.items() if value is not None and key != "training"}
    if not arguments and others:
        first = next(iter(others))
        arguments = [others.pop(first)]
    if len(arguments) != 1:
        raise ModelFileError(
            f"the layer {name!r} is called in a way that Keras 2 cannot store",
            expected="one tensor or one list of tensors as positional argument",
            found=f"{len(arguments)} positional arguments",
            remedy="pass the others by name, or in one list",
        )
    tensors = arguments[0] if isinstance(arguments[0], list) else [arguments[0]]
    others = {key: _with_tensors(value, members) for key, value in others.items()}
    for tensor in tensors:
        if not is_tensor(tensor):
            raise _no_form(name, "input", tensor)
    return [[*_tensor(tensor, members), others] for tensor in tensors]


def _with_tensors(value: Any, members: Mapping[str, Config]) -> Any:
    """An argument in Keras 2's form, the tensors in its lists, too: [h, c] as initial_state."""
    if is_tensor(value):
        return _tensor(value, members)
    return [_with_tensors(item, members) for item in value] if isinstance(value, list | tuple) else value


def _tensor(value: Config, members: Mapping[str, Config]) -> list[Any]:
    layer, call, tensor = value["config"]["keras_history"]
    return [layer, call + _own_calls(members[layer]), tensor]


def _own_calls(layer: Config) -> int:
    """How many calls a member has before its first one in this model.

    Keras 2 counts the call that made a nested model with inputs of its own; Keras 3 does not write it.
    """
    if layer["class_name"] not in MODELS:
        return 0
    inner = layer["config"]["layers"]
    is_deferred = layer["class_name"] == "Sequential" and (not inner or inner[0]["class_name"] != "InputLayer")
    return 0 if is_deferred else 1


def _output(end: list[Any], members: Mapping[str, Config]) -> list[Any]:
    layer, call, tensor = end
    # For a functional member Keras 3 writes the number with the making call counted, for a Sequential without.
    shift = _own_calls(members[layer]) if members[layer]["class_name"] == "Sequential" else 0
    return [layer, call + shift, tensor]


def _ends(ends: Any, convert: Callable[[list[Any]], list[Any]]) -> Any:
    """A model's inputs or outputs, as deep in lists and dicts as the model gives them; one alone in a list."""
    if isinstance(ends, dict):
        return {key: _end(value, convert) for key, value in ends.items()}
    return [_end(ends, convert)] if _is_end(ends) else [_end(end, convert) for end in ends]


def _end(end: Any, convert: Callable[[list[Any]], list[Any]]) -> Any:
    if not isinstance(end, list | tuple | dict):
        raise TypeError(f"{end!r} where an input or output of the model is expected")
    return convert(list(end)) if _is_end(end) else _ends(end, convert)


def _is_end(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 3 and isinstance(value[0], str)


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _no_form(name: str, key: str, value: Any) -> ModelFileError:
    return ModelFileError(
        f"the layer {name!r} has a setting that Keras 2 does not have",
        expected="settings that Keras 2 and Keras 3 share",
        found=f"{key}: {value!r}",
        remedy=f"build the model without {key} in {name!r}, and save it again",
        code="K2D-0006",
    )
