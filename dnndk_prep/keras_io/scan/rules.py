"""The allow-list of allowed.yaml: which modules, classes and functions an architecture may name."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from typing import Any

CLASS_KINDS = (
    *("layers", "application_layers", "initializers", "regularizers", "constraints", "dtype_policies", "quantizers"),
    "operations",
)
# What a setting holds, by the end of its key.
KINDS_AT = (
    ("_initializer", ("initializers",)),
    ("_regularizer", ("regularizers",)),
    ("_constraint", ("constraints",)),
    ("dtype", ("dtype_policies",)),
)
# Nobody keeps layers of his own in these; a class path into them is an attack.
KNOWN_PACKAGES = frozenset(sys.stdlib_module_names) - {"__main__"} | {
    *("builtins", "keras", "tf_keras", "tensorflow", "numpy", "h5py", "torch", "jax", "flax", "scipy", "cloudpickle"),
    *("dill", "joblib", "pickle", "pip", "setuptools", "pkg_resources", "yaml", "dnndk_prep"),
}


@dataclass(frozen=True)
class Allowed:
    """Names that are allowed in some modules."""

    modules: re.Pattern[str]
    names: frozenset[str]

    @classmethod
    def of(cls, data: dict[str, Any]) -> Allowed:
        return cls(re.compile(data["modules"]), frozenset(data["names"]))

    def holds(self, module: str | None, name: str) -> bool:
        return name in self.names and (module is None or self.is_module(module))

    def is_module(self, module: str) -> bool:
        return _fits(self.modules, module)


@lru_cache(maxsize=1000)
def _fits(modules: re.Pattern[str], module: str) -> bool:
    return bool(modules.fullmatch(module))


@dataclass(frozen=True)
class Rules:
    """allowed.yaml, ready to ask."""

    classes: Mapping[str, Allowed]
    functions: Allowed
    activations: Allowed
    values: frozenset[str]
    code: frozenset[str]
    calling_operations: frozenset[str]
    tensorflow_functions: Allowed
    tensorflow_operators: frozenset[str]

    def is_class(self, module: str | None, name: str) -> bool:
        return self.is_of(CLASS_KINDS, module, name)

    def is_of(self, kinds: Iterable[str], module: str | None, name: str) -> bool:
        return any(self.classes[kind].holds(module, name) for kind in kinds)

    def is_operation(self, module: str | None, name: str) -> bool:
        """Whether this can be nothing but an operation: without a module an Add is a layer as well."""
        others = (kind for kind in CLASS_KINDS if kind != "operations")
        return self.is_of(("operations",), module, name) and not self.is_of(others, module, name)

    def kinds_at(self, key: str) -> tuple[str, ...]:
        """The kinds of classes that Keras reads from the setting `key`; empty if it may be of any kind."""
        return next((kinds for ending, kinds in KINDS_AT if key.endswith(ending)), ())

    def is_own(self, module: str, name: str) -> bool:
        """Whether Keras has this class, or its functions, in that module."""
        return self.functions.is_module(module) if name == "function" else self.is_class(module, name)

    def is_layer_module(self, module: str) -> bool:
        return self.classes["layers"].is_module(module)

    def is_tensorflow_function(self, path: str) -> bool:
        module, _, name = path.rpartition(".")
        allowed = self.tensorflow_functions
        # keras.activations has a `deserialize`, too.
        known = self.functions.names if module == "keras.activations" else None
        return path in allowed.names or (
            allowed.is_module(module) and name.isidentifier() and (known is None or name in known)
        )


@cache
def rules() -> Rules:
    # Here, for the process that looks at HDF5 files does without.
    import yaml

    text = resources.files(__package__).joinpath("allowed.yaml").read_text(encoding="utf-8")
    # Ten times as fast where the C library is there.
    data = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return Rules(
        classes={kind: Allowed.of(data[kind]) for kind in (*CLASS_KINDS, "activation_layers")},
        functions=Allowed.of(data["functions"]),
        activations=Allowed.of(data["tensorflow_activations"]),
        values=frozenset(data["values"]),
        code=frozenset(data["code"]),
        calling_operations=frozenset(data["calling_operations"]),
        tensorflow_functions=Allowed.of(data["tensorflow_functions"]),
        tensorflow_operators=frozenset(data["tensorflow_operators"]),
    )


def activations_of_tensorflow() -> frozenset[str]:
    """What files call TensorFlow's functions that are allowed as activations."""
    return rules().activations.names
