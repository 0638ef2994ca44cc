"""Operations between layers, such as x * 0.5, keras.ops.relu(x) and tf.concat, as layers of Keras 2.

Keras 3 writes them as members of their own, Keras 2.4 - 2.15 as TFOpLambda and SlicingOpLambda. Both become the layer
`Operation` of keras_io.op_layer. A name in the file is looked up in the tables of keras_io.op_tables and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dnndk_prep.keras_io.op_tables import ANY_VALUE, KERAS3, TENSORFLOW, Form
from dnndk_prep.keras_io.scan import CONSTANT

Config = dict[str, Any]

OPERATION = "Operation"
TF_LAMBDAS = ("TFOpLambda", "SlicingOpLambda")


class NoFormError(Exception):
    """The operation, or the way it is called, is not in the tables; the text says what."""


def is_tensor(value: Any) -> bool:
    """Whether `value` is Keras 3's reference to what a call of a layer gave."""
    return isinstance(value, dict) and value.get("class_name") == "__keras_tensor__"


def is_reference(value: Any) -> bool:
    """Whether `value` is Keras 2's reference to what a call of a layer gave: [layer, call, tensor]."""
    return (
        isinstance(value, list)
        and len(value) == 3
        and isinstance(value[0], str)
        and value[0] != CONSTANT
        and all(isinstance(number, int) for number in value[1:])
    )


def problem(layer: Config) -> str | None:
    """Why the operation `layer` has no Keras 2 form, in words; None if it has one."""
    try:
        if layer["class_name"] in TF_LAMBDAS:
            from_tensorflow(layer)
        elif layer["class_name"] == "TensorFlowOpLayer":
            return "the operation of a TensorFlowOpLayer"
        else:
            from_keras3(layer)
    except NoFormError as error:
        return str(error)
    return None


def from_keras3(layer: Config) -> tuple[Config, list[Any]]:
    """A Keras 3 operation as the config of the layer `Operation`, and the tensors it reads (Keras 3's references)."""
    kind, config = str(layer["class_name"]), layer["config"]
    form, node = KERAS3.get(kind), _only_call(layer)
    if form is None:
        raise NoFormError(f"the operation {kind}")
    options = {key: value for key, value in config.items() if key != "name"}
    given = {**dict(zip(form.arguments, node["args"], strict=False)), **options, **node["kwargs"]}
    if len(node["args"]) > len(form.arguments):
        raise NoFormError(f"the operation {kind} with {len(node['args'])} arguments")
    return _operation(config["name"], kind, form, given, is_tensor)


def from_tensorflow(layer: Config) -> tuple[Config, list[Any]]:
    """A TFOpLambda or SlicingOpLambda as the config of `Operation`, and the tensors it reads: [layer, call, tensor]."""
    config = layer["config"]
    function = str(config.get("function"))
    form, node = TENSORFLOW.get(function), _only_call(layer)
    if form is None:
        raise NoFormError(f"the operation {function}")
    several = bool(node) and isinstance(node[0], list) and isinstance(node[0][0], list)
    entries = node[0] if several else node
    if not all(isinstance(entry, list) and len(entry) == 4 and isinstance(entry[3], dict) for entry in entries):
        raise NoFormError(f"the operation {function} called in a way that is not known")
    first = [entry[2] if entry[0] == CONSTANT else entry[:3] for entry in entries]
    name = next(iter(form.arguments))
    takes_list = form.arguments[name] == "tensors"
    if len(first) != 1 and not takes_list:
        raise NoFormError(f"the operation {function} of {len(first)} tensors")
    given = {name: first if takes_list else first[0], **entries[0][3]}
    return _operation(config["name"], function, form, given, is_reference)


def without_tf_lambdas(layer: Config) -> Config:
    """A Keras 2 architecture whose TFOpLambda and SlicingOpLambda, in nested models, too, are `Operation` layers."""
    if layer.get("class_name") in TF_LAMBDAS:
        config, tensors = from_tensorflow(layer)
        calls = [[[*tensor, {}] for tensor in tensors]]
        return {"class_name": OPERATION, "name": layer.get("name"), "config": config, "inbound_nodes": calls}
    model = layer.get("config")
    if not isinstance(model, dict) or not isinstance(model.get("layers"), list):
        return layer
    return {**layer, "config": {**model, "layers": [without_tf_lambdas(member) for member in model["layers"]]}}


def _only_call(layer: Config) -> Any:
    calls = layer.get("inbound_nodes") or []
    if len(calls) != 1:
        raise NoFormError(f"the operation {layer['class_name']} called {len(calls)} times")
    # Of a single list argument Keras 2 writes one level less.
    call = calls[0]
    return [call] if isinstance(call, list) and call and isinstance(call[0], str) else call


def _operation(
    name: str, what: str, form: Form, given: Config, is_read: Callable[[Any], bool]
) -> tuple[Config, list[Any]]:
    values: Config = {}
    tensors: list[Any] = []
    for key, value in given.items():
        if key in form.arguments:
            values[form.arguments[key]] = _value(value, tensors, is_read, what)
        elif key not in form.fixed or (form.fixed[key] is not ANY_VALUE and value not in form.fixed[key]):
            raise NoFormError(f"the operation {what} with {key}: {value!r}")
    if not tensors:
        raise NoFormError(f"the operation {what} of no tensor")
    return {"name": name, "op": form.op, "values": values}, tensors


def _value(value: Any, tensors: list[Any], is_read: Callable[[Any], bool], what: str) -> Any:
    """`value` with {"tensor": its place in `tensors`} for each tensor, and one form of slices."""
    if is_read(value):
        if value not in tensors:
            tensors.append(value)
        return {"tensor": tensors.index(value)}
    if isinstance(value, list | tuple):
        return [_value(item, tensors, is_read, what) for item in value]
    if not isinstance(value, dict):
        return value
    kind, config = value.get("class_name"), value.get("config", value)
    if kind == "__ellipsis__":
        return {"ellipsis": True}
    if kind == "__numpy__":
        return {"array": config["value"], "dtype": config["dtype"]}
    if kind == "__slice__" or set(value) == {"start", "stop", "step"}:
        ends = [config["start"], config["stop"], config["step"]]
        if all(end is None or isinstance(end, int) for end in ends):
            return {"slice": ends}
    raise NoFormError(f"the operation {what} of {kind or value!r}")
