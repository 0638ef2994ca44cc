"""The user's own layers and functions, named as module:Class: imported only where the user allows it.

A class belongs to the Keras whose Layer it is based on. A file of Keras 2 needs classes based on tf_keras, one of Keras
3 classes based on keras: its model is traced, unless there is a class of the same name based on tf_keras as well, with
which Keras 2 builds the graph.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from dnndk_prep.errors import UsageError
from dnndk_prep.keras_io.architecture import layers_of

KEY = "model.custom_objects"


@dataclass(frozen=True)
class CustomObjects:
    """What was imported for model.custom_objects."""

    objects: tuple[Any, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """The names that files may use for them."""
        return frozenset(item.__name__ for item in self.objects)

    @property
    def file_names(self) -> frozenset[str]:
        """`names`, and the registered ones by which Keras 2 writes some of them: "package>Class"."""
        keras = sys.modules.get("tf_keras")
        registered = [keras.saving.get_registered_name(item) for item in self.objects] if keras else []
        return self.names | {*registered}

    def spellings(self, config: dict[str, Any]) -> frozenset[str]:
        """`names`, and the registered names ("package>Class") by which `config` calls them."""
        spelled = (layer.get(key) for layer in layers_of(config) for key in ("class_name", "registered_name"))
        return self.names | {text for text in spelled if isinstance(text, str) and _bare(text) in self.names}

    def scope(self, keras: ModuleType, config: dict[str, Any]) -> dict[str, Any]:
        """What `keras` (keras or tf_keras) looks up while it reads `config`, by every spelling.

        Raises UsageError for a layer of `config` whose class is based on the other Keras alone.
        """
        fitting = {item.__name__: item for item in self.objects if _fits(item, keras)}
        missing = {_bare(str(layer.get("class_name"))) for layer in layers_of(config)} & self.names - fitting.keys()
        if missing:
            raise UsageError(
                f"{KEY}: {keras.__name__} needs a class of its own for {', '.join(sorted(missing))}",
                expected=f"a class of that name based on {keras.__name__}.layers.Layer",
                found=", ".join(
                    f"{item.__module__}:{item.__name__}" for item in self.objects if _bare_in(item, missing)
                ),
                remedy=f"add module:Class of one to {KEY}",
                code="K2D-0025",
            )
        return {text: fitting[_bare(text)] for text in self.spellings(config) if _bare(text) in fitting}


NO_CUSTOM_OBJECTS = CustomObjects()


def load_custom_objects(specs: Sequence[str], folder: Path) -> CustomObjects:
    """Import what `specs` (module:Class) name, from `folder` or from what is installed.

    This runs the modules' code. Raises UsageError for a module or a name that is not there.
    """
    with _importable(folder):
        return CustomObjects(tuple(_imported(spec, folder) for spec in specs))


def module_files(spec: str, folder: Path) -> dict[str, Path]:
    """By module, the files or packages' folders that `spec` (module:Class) is imported from; found without running it.

    Of modules in `folder` also those that they import from there. Empty where there is no such module.
    """
    named = spec.partition(":")[0].partition(".")[0]
    waiting, found = [named], dict[str, Path]()
    while waiting:
        top = waiting.pop()
        local = _local(top, folder)
        if local is not None and top not in found:
            found[top] = local
            waiting += sorted(_imported_by(local))
    if found:
        return found
    installed = _installed(named)
    return {} if installed is None else {named: installed}


def _imported_by(local: Path) -> set[str]:
    """The first parts of the names of all modules that a file, or any file of a package, imports by a statement."""
    names = set()
    for path in [local] if local.is_file() else local.rglob("*.py"):
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError, RecursionError, OSError):
            continue  # Importing it tells what is wrong with it.
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.partition(".")[0])
    return names


def _installed(top: str) -> Path | None:
    try:
        found = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if found is None or found.origin is None:
        return None
    origin = Path(found.origin)
    return origin.parent if found.submodule_search_locations else origin


def _local(top: str, folder: Path) -> Path | None:
    return next((path for path in (folder / f"{top}.py", folder / top) if path.exists()), None)


def _imported(spec: str, folder: Path) -> Any:
    module_name, _, name = spec.partition(":")
    top = module_name.partition(".")[0]
    if _local(top, folder) is not None and not _lies_in(sys.modules.get(top), folder):
        # Another folder's module of that name.
        for loaded in [key for key in sys.modules if key == top or key.startswith(f"{top}.")]:
            del sys.modules[loaded]
    try:
        module = importlib.import_module(module_name)
    # Whatever the user's module raises.
    except Exception as error:
        raise UsageError(
            f"{KEY}: the module {module_name} cannot be imported",
            expected=f"{module_name.replace('.', '/')}.py beside the YAML, or an installed module",
            found=f"{type(error).__name__}: {error}",
            remedy="correct the name, or mend the module",
            code="K2D-0025",
        ) from error
    item = getattr(module, name, None)
    if not callable(item) or not hasattr(item, "__name__"):
        raise UsageError(
            f"{KEY}: the module {module_name} has no class or function {name}",
            expected="module:Class",
            found=", ".join(key for key in vars(module) if not key.startswith("_"))[:200] or "nothing",
            remedy="correct the name",
            code="K2D-0025",
        )
    return item


def _lies_in(module: ModuleType | None, folder: Path) -> bool:
    path = getattr(module, "__file__", None)
    return path is not None and folder.resolve() in Path(path).resolve().parents


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    place = str(folder.resolve())
    sys.path.insert(0, place)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(place)


def _fits(item: Any, keras: ModuleType) -> bool:
    """Whether `keras` can use it; what is no layer (an initializer, an activation) serves any Keras."""
    if not isinstance(item, type):
        return True
    bases = {base.__module__.partition(".")[0] for base in item.__mro__}
    other = {"keras", "tf_keras"} - {keras.__name__}
    return keras.__name__ in bases or not bases & other


def _bare(text: str) -> str:
    return text.rpartition(">")[2]


def _bare_in(item: Any, names: set[str]) -> bool:
    return item.__name__ in names
