"""What a stage's result depends on, as a fingerprint, and what differs between two of them in words."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from dnndk_prep.config import Config, ModelSection
from dnndk_prep.errors import DnndkPrepError
from dnndk_prep.graph.kinds import checkpoint_files, checkpoint_prefix, graph_file


def versions() -> dict[str, str]:
    """The releases that decide what a graph looks like, read without importing them."""
    found = {}
    for name in ("tensorflow", "keras", "tf_keras"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError as error:
            raise DnndkPrepError(f"{name} is not installed", remedy="source run_all.sh") from error
    return found


def values_and_files(cfg: Config, reads: Sequence[str]) -> tuple[dict[str, Any], dict[str, Path]]:
    """The plain values under the keys in `reads`, and the outside files named or meant there, both by dotted key."""
    values: dict[str, Any] = {}
    files: dict[str, Path] = {}
    for key in reads:
        value: Any = cfg
        for part in key.split("."):
            value = getattr(value, part)
        parts = {key: value}
        if hasattr(value, "model_fields_set"):
            parts = {f"{key}.{name}": getattr(value, name) for name in type(value).model_fields}
        for name, item in parts.items():
            if name == "model.checkpoint":
                continue  # The common beginning of several files: _not_named.
            if isinstance(item, Path):
                files[name] = item
            elif isinstance(item, tuple) and any(isinstance(one, Path) for one in item):
                files |= {f"{name}[{i}]": path for i, path in enumerate(item)}
            else:
                values[name] = list(item) if isinstance(item, tuple) else item
    return values, files | _not_named(cfg.model, reads)


def _not_named(model: ModelSection, reads: Sequence[str]) -> dict[str, Path]:
    """The files that the model's section leads to: the code of its classes, and the JSON beside its weights."""
    files: dict[str, Path] = {}
    if model.custom_objects and {"model", "model.custom_objects"} & set(reads):
        # Here and below: what reads models takes longer to import than a plan takes.
        from dnndk_prep.keras_io.custom import module_files

        for spec in model.custom_objects:
            for module, path in module_files(spec, model.folder).items():
                files[f"model.custom_objects: {module}"] = path
    found = graph_file(model.path) if "model" in reads and model.path is not None else None
    if found is not None:
        prefix = checkpoint_prefix(model.checkpoint) if model.checkpoint else found.variables
        for path in checkpoint_files(prefix) if prefix else []:
            files[f"model.checkpoint: {path.name.removeprefix(prefix.name) if prefix else ''}"] = path
    elif "model" in reads and model.path is not None and any(model.path.parent.glob("*.json")):
        from dnndk_prep.keras_io.load import architecture_beside

        beside = architecture_beside(model.path)
        if beside is not None:
            files["the architecture beside model.path"] = beside
    return files


def difference(old: dict[str, Any], new: dict[str, Any]) -> str | None:
    """What changed between two fingerprints, in words; None if nothing did."""
    if old.get("code") != new["code"]:
        return "the stage's code changed"
    words = {"config": "{} changed", "files": "the content of {} changed", "versions": "the version of {} changed"}
    for part, text in words.items():
        if name := _first_difference(old.get(part, {}), new[part]):
            return text.format(name)
    for stage, hashes in new["inputs"].items():
        if name := _first_difference(old.get("inputs", {}).get(stage, {}), hashes):
            return f"{stage}/{name} changed"
    return None


def _first_difference(old: dict[str, Any], new: dict[str, Any]) -> str | None:
    missing = object()
    names = [*new, *(name for name in old if name not in new)]
    return next((name for name in names if old.get(name, missing) != new.get(name, missing)), None)
