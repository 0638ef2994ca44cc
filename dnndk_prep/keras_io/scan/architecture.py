"""Walks an architecture and refuses what the allow-list lacks: code, foreign classes, files to read, huge layers."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Any

from dnndk_prep.errors import ModelFileError, UnsafeFileError
from dnndk_prep.keras_io.scan.calls import MAX_CALLS, call_settings, has_tensor, number_of_calls
from dnndk_prep.keras_io.scan.rules import KNOWN_PACKAGES, Rules, rules
from dnndk_prep.keras_io.scan.sizes import (
    Config,
    too_large,
    too_large_value,
    too_many_repeats,
    too_many_states,
    too_many_steps,
    unrolled_too_far,
)
from dnndk_prep.keras_io.scan.text import parse_json
from dnndk_prep.keras_io.scan.words import bare, is_marshalled, is_of_keras, shown

# Where Keras looks for layers.
LAYER_PLACES = ("", "layers", "layer", "cell", "cells", "forward_layer", "backward_layer")
# Their values name a function; a string is a function of Keras' own.
FUNCTION_KEYS = ("activation", "recurrent_activation")
# Keras 2 runs from_config of any class it has where a dict has this key: an operation in the place of an activation.
# Nothing that Keras writes into a file has it.
PASSIVE = "__passive_serialization__"
# A plain TensorFlow function as a layer: only between layers.
OPERATIONS = ("TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer")
SLICING = "__operators__.getitem"
# Keras 1 says here what its values are; "raw" is a plain one.
TYPE_KEYS = ("mode_type", "output_shape_type", "output_mask_type", "function_type")
# A string here is the path of a file that Keras reads at once.
FILE_KEYS = ("vocabulary", "idf_weights", "filepath", "file_path")
# How a model was trained: dropped before any loader sees it, so that only code in it matters.
TRAINING_KEYS = ("compile_config", "training_config")
NUMBER_TYPE = re.compile(r"(float|bfloat|int|uint|complex)\d{1,3}(_\w{1,12})?|bool|string")
MAX_NAMED = 20


def check_architecture(
    architecture: Any, file: str, *, stored: int | None = None, custom: Collection[str] = ()
) -> None:
    """Check everything in `architecture`, at any depth, against the allow-list.

    stored: how many numbers the weights file holds; no layer may need more. custom: names of classes and functions
    that the user brings along, as class_name or registered_name says them.

    Raises UnsafeFileError that lists all that is or names code, reads a file, or is larger than its weights; otherwise
    ModelFileError that lists all classes that Keras does not have.
    """
    walk = _Walk(rules(), frozenset(custom), stored, file)
    is_endless = number_of_calls(architecture) > MAX_CALLS
    if not is_endless:
        walk.value(architecture, "the model", "")
    unrolled = unrolled_too_far([config for _, config in walk.configs])
    checks = (too_many_steps, too_many_repeats, too_many_states)
    further = [check(walk.configs) for check in checks]
    walk.sizes += [text for text in (unrolled, *further) if text is not None]
    if is_endless:
        walk.sizes.append(f"more than {MAX_CALLS} calls of layers, those of nested models counted each time")
    for found, error, problem, expected, remedy in (
        (
            *(walk.code, UnsafeFileError, f"{file} holds code that would run when it is opened"),
            "a model of Keras' own layers and functions",
            "replace them by Keras' layers (Rescaling, Activation, ...) and save the model again",
        ),
        (
            *(walk.sizes, UnsafeFileError, f"{file} declares more than it holds, or more than any model has"),
            "layers of the sizes that their weights have",
            "save the model again",
        ),
        (walk.unknown, ModelFileError, *_of_unknown(architecture, walk.unknown, file)),
    ):
        if found:
            code = "K2D-0025" if found is walk.unknown else None
            raise error(problem, expected=expected, found=_listed(found), remedy=remedy, code=code)


def _of_unknown(architecture: Any, unknown: list[str], file: str) -> tuple[str, str, str]:
    """Problem, expectation and remedy for classes that Keras does not have."""
    config = architecture.get("config") if isinstance(architecture, dict) else None
    is_model = isinstance(config, dict) and not any(key in config for key in ("layers", "name"))
    if is_model and unknown:
        return (
            f"{file} holds a subclassed model, and no architecture: what it computes stands in its Python class alone",
            "a Functional or Sequential model",
            "build it once on an input: x = keras.Input(shape); keras.Model(x, model.call(x)); and save that model",
        )
    return (
        f"{file} holds {len(set(unknown))} layer(s) or other class(es) that Keras does not have",
        "Keras' own",
        "name your own in model.custom_objects, or replace them and save the model again",
    )


def refuse_code(architecture: Any, file: str) -> None:
    """`check_architecture` without the weights."""
    check_architecture(architecture, file)


def loadable(value: Any) -> Any:
    """`value`, which was checked, as loaders may see it, at any depth.

    Without what it says about training: losses, metrics and optimizers are never loaded. Without the modules of the
    user's own classes: Keras 2 imports whatever module the file names where it does not find the class by its name.
    """
    if isinstance(value, list):
        return [loadable(item) for item in value]
    if not isinstance(value, dict):
        return value
    result = {key: loadable(item) for key, item in value.items() if key not in TRAINING_KEYS}
    if isinstance(module := value.get("module"), str) and not rules().is_own(module, str(value.get("class_name"))):
        result["module"] = None
    return result


class _Walk:
    """One way through an architecture, and what it met."""

    def __init__(self, allowed: Rules, custom: frozenset[str], stored: int | None, file: str) -> None:
        self._rules, self._custom, self._stored, self._file = allowed, custom, stored, file
        self.code: list[str] = []
        self.sizes: list[str] = []
        self.unknown: list[str] = []
        self.configs: list[tuple[str, Config]] = []
        self._in_call = False
        # The shapes that were looked at: what lies in one is not looked at once a level.
        self._seen: set[int] = set()

    def value(self, value: Any, place: str, key: str) -> None:
        if isinstance(value, list):
            for item in value:
                if isinstance(item, list | dict | str):
                    self.value(item, place, key)
        elif isinstance(value, dict):
            self._dict(value, place, key)
        elif isinstance(value, str) and is_marshalled(value):
            self.code.append(f"marshalled code as the {shown(key)} of {place}")

    def _dict(self, value: Config, place: str, key: str) -> None:
        config = value.get("config")
        if isinstance(config, dict) and isinstance(config.get("name"), str):
            place = shown(config["name"])
        if PASSIVE in value:
            self.code.append(f"{PASSIVE} in the {shown(key)} of {place}")
        if "class_name" in value:
            self._object(value, place, key)
        elif key in FUNCTION_KEYS:
            self.code.append(f"code as the {key} of {place}")
        for name, item in value.items():
            if name in TRAINING_KEYS:
                self._training(item, place)
            elif name == "inbound_nodes":
                self._calls(item, place)
            elif name == "build_config" and isinstance(item, dict):
                self._large(item.items(), place)
                self.value(item, place, name)
            else:
                self._setting(name, item, place)
                # A list of layers in a Sequential of the first Keras 2 stands in its config itself.
                self.value(item, place, "layers" if name == "config" and isinstance(item, list) else name)

    def _calls(self, nodes: Any, place: str) -> None:
        if self._in_call:
            self.code.append(f"calls in a call of {place}")
            return
        # Keras runs a call without a tensor of the model at once: Repeat or UpSampling2D of a constant fill memory.
        for node in nodes if isinstance(nodes, list) else []:
            if not has_tensor(node):
                self.code.append(f"a call with constants alone in {place}")
        # What Keras 2 gives an operation stands in its call.
        self._large(call_settings(nodes), place)
        self._in_call = True
        self.value(nodes, place, "inbound_nodes")
        self._in_call = False

    def _large(self, settings: Iterable[tuple[str, Any]], place: str) -> None:
        self.sizes += [f"{place}: {what}" for key, v in settings for what in too_large_value(key, v, self._seen)]

    def _setting(self, key: str, value: Any, place: str) -> None:
        if key in TYPE_KEYS and value not in (None, "raw"):
            self.code.append(f"code as the {key.removesuffix('_type')} of {place}")
        if key in FILE_KEYS and isinstance(value, str):
            self.code.append(f"the file {shown(value)} as the {key} of {place}")

    def _object(self, value: Config, place: str, key: str) -> None:
        kind, module, registered = (value.get(name) for name in ("class_name", "module", "registered_name"))
        if not isinstance(kind, str) or not all(isinstance(name, str | None) for name in (module, registered)):
            raise self._broken(f"class_name {shown(kind)} in {place}")
        config = value.get("config")
        is_custom = self._custom and {kind, registered, bare(kind), bare(registered or "")} & self._custom
        # The user's own have no module of Keras', without which Keras finds no operation.
        calls = kind in self._rules.calling_operations and not (is_custom and not is_of_keras(module))
        if calls or kind in self._rules.code:
            self.code.append(f"{kind} in {place}")
        elif is_custom:
            return
        elif kind == "function":
            self._function(config, module, registered, place, key)
            self._place_of(None, kind, place, key)
        elif kind in self._rules.values:
            self._plain_value(value, place)
        elif registered in (None, "", kind) and self._rules.is_class(module or None, kind):
            self._own_class(kind, config, place)
            self._place_of(module or None, kind, place, key)
        elif self._is_of_the_user(kind, module or None, registered, config, key):
            role = "" if key in LAYER_PLACES else f" as {shown(key)}"
            self.unknown.append(f"{place}: {shown(registered or kind)}{role}")
        else:
            self.code.append(f"the class {shown(module)}.{shown(kind)} in {place}")

    def _place_of(self, module: str | None, kind: str, place: str, key: str) -> None:
        """A class of Keras' own stands where Keras writes such: else another part of Keras would make it.

        The user's own layers may hold other layers and models under any key.
        """
        is_of, kinds = self._rules.is_of, self._rules.kinds_at(key)
        if self._in_call:
            fits = not is_of(("layers", "operations"), module, kind)
        elif key in FUNCTION_KEYS:
            fits = kind == "function" or is_of(("activation_layers",), module, kind)
        elif kinds:
            fits = is_of(kinds, module, kind)
        else:
            fits = key in LAYER_PLACES or not (kind in OPERATIONS or self._rules.is_operation(module, kind))
        if not fits:
            self.code.append(f"{kind} as the {shown(key)} of {place}")

    def _function(self, name: Any, module: str | None, registered: str | None, place: str, key: str) -> None:
        if isinstance(name, str) and name in self._custom:
            return
        tables = (self._rules.functions, self._rules.activations)[: 2 if key in FUNCTION_KEYS else 1]
        # With a module of activations Keras 2 takes the registered name, not the other.
        names_agree = registered in (None, "", "function", name)
        if not isinstance(name, str) or not names_agree or not any(one.holds(module or "", name) for one in tables):
            self.code.append(f"the function {shown(module)}.{shown(name)} in {place}")

    def _plain_value(self, value: Config, place: str) -> None:
        config = value.get("config")
        if value.get("module") is not None:
            self.code.append(f"the class {shown(value['module'])}.{value['class_name']} in {place}")
        # numpy would make room for "U1000000000", a single text of 4 GB.
        dtype = config.get("dtype") if isinstance(config, dict) else None
        if isinstance(dtype, str) and not NUMBER_TYPE.fullmatch(dtype):
            self.sizes.append(f"{place}: numbers of type {shown(dtype)}")
        if isinstance(config, dict) and value["class_name"] == "__keras_tensor__":
            self.sizes += [f"{place}: {what}" for what in too_large_value("shape", config.get("shape"), self._seen)]

    def _own_class(self, kind: str, config: Any, place: str) -> None:
        if not isinstance(config, dict):
            return
        self.configs.append((kind, config))
        self.sizes += [f"{place} ({kind}): {what}" for what in too_large(kind, config, self._stored, self._seen)]
        function = config.get("function")
        if kind == "TFOpLambda" and not self._rules.is_tensorflow_function(str(function)):
            self.code.append(f"the TensorFlow function {shown(function)} in {place}")
        if kind == "SlicingOpLambda" and function != SLICING:
            self.code.append(f"the TensorFlow function {shown(function)} in {place}")
        if kind == "TensorFlowOpLayer" and self._operator(config) not in self._rules.tensorflow_operators:
            self.code.append(f"the TensorFlow operator {shown(self._operator(config))} in {place}")

    def _operator(self, config: Config) -> str | None:
        node = config.get("node_def")
        node = parse_json(node, self._file) if isinstance(node, str) else node
        operator = node.get("op") if isinstance(node, dict) else None
        return operator if isinstance(operator, str) else None

    def _is_of_the_user(self, kind: str, module: str | None, registered: str | None, config: Any, key: str) -> bool:
        """Whether this may be a class of the user's own, which nothing here imports.

        Without a module no class can be imported. With one, it must look as a layer does that Keras wrote, and the
        module must not be of a package that everybody has.
        """
        if not bare(kind).isidentifier():
            return False
        if module is None:
            return registered is None or bare(registered).isidentifier()
        if self._rules.is_layer_module(module) and module not in ("keras", "tf_keras"):
            return key in LAYER_PLACES
        # A subclassed model alone has no name in its config.
        is_named = isinstance(config, dict) and (isinstance(config.get("name"), str) or not key)
        is_layer = key in LAYER_PLACES and is_named
        return is_layer and isinstance(registered, str) and module.split(".")[0] not in KNOWN_PACKAGES

    def _training(self, value: Any, place: str) -> None:
        if isinstance(value, dict):
            kind = value.get("class_name")
            if isinstance(kind, str) and kind in self._rules.code:
                self.code.append(f"{kind} in the training configuration of {place}")
            value = list(value.values())
        if isinstance(value, list):
            for item in value:
                self._training(item, place)
        elif isinstance(value, str) and is_marshalled(value):
            self.code.append(f"marshalled code in the training configuration of {place}")

    def _broken(self, found: str) -> ModelFileError:
        return ModelFileError(
            f"the architecture in {self._file} is not complete",
            expected="an architecture as Keras writes it",
            found=found,
            remedy="save the model again",
        )


def _listed(found: list[str]) -> str:
    unique = list(dict.fromkeys(found))
    more = f"; and {len(unique) - MAX_NAMED} more" if len(unique) > MAX_NAMED else ""
    return "; ".join(unique[:MAX_NAMED]) + more
