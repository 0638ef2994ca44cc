"""The allow-list of allowed.yaml: which modules, classes and functions an architecture may name."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml

CLASS_KINDS = ("layers", "initializers", "regularizers", "constraints", "dtype_policies", "quantizers", "operations")
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
        return bool(self.modules.fullmatch(module))


@dataclass(frozen=True)
class Rules:
    """allowed.yaml, ready to ask."""

    classes: tuple[Allowed, ...]
    functions: Allowed
    values: frozenset[str]
    code: frozenset[str]
    tensorflow_functions: Allowed
    tensorflow_operators: frozenset[str]

    def is_class(self, module: str | None, name: str) -> bool:
        return any(allowed.holds(module, name) for allowed in self.classes)

    def is_layer_module(self, module: str) -> bool:
        return self.classes[0].is_module(module)

    def is_tensorflow_function(self, path: str) -> bool:
        module, _, name = path.rpartition(".")
        allowed = self.tensorflow_functions
        return path in allowed.names or (allowed.is_module(module) and name.isidentifier())


@cache
def rules() -> Rules:
    text = resources.files(__package__).joinpath("allowed.yaml").read_text(encoding="utf-8")
    data = yaml.safe_load(text)
    return Rules(
        classes=tuple(Allowed.of(data[kind]) for kind in CLASS_KINDS),
        functions=Allowed.of(data["functions"]),
        values=frozenset(data["values"]),
        code=frozenset(data["code"]),
        tensorflow_functions=Allowed.of(data["tensorflow_functions"]),
        tensorflow_operators=frozenset(data["tensorflow_operators"]),
    )
