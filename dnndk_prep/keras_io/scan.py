"""Refuses files that run code or read other files when they are opened; looks before any loader does.

Keras 2 runs the code of a Lambda layer in an .h5 while loading it, and HDF5 external storage puts the bytes of any
local file into a weight.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import h5py

from dnndk_prep.errors import UnsafeFileError

# Layers that carry code, or load it from another file.
CODE_LAYERS = ("Lambda", "__lambda__", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer")
# Their values name a function; a string is a function of Keras' own.
FUNCTION_KEYS = ("activation", "recurrent_activation")


def refuse_code(config: Any, file: str) -> None:
    """Raises UnsafeFileError that lists everything in `config`, however deep, that is or names code."""
    found = list(dict.fromkeys(_code_in(config, "the model")))
    if found:
        raise UnsafeFileError(
            f"{file} holds code that would run when it is opened",
            expected="a model of Keras' own layers and functions",
            found="; ".join(found),
            remedy="replace them by Keras' layers (Rescaling, Activation, ...) and save the model again",
        )


def refuse_outside_data(file: h5py.File) -> None:
    """Raises UnsafeFileError where the HDF5 file takes data from another file, or may do so by a link."""
    for place, what in _outside_data(file, ""):
        raise UnsafeFileError(
            f"{file.filename} reads another file: {place} is {what}",
            expected="a file that holds all its data",
            found=what,
            remedy="save the model again with Keras",
        )


def _code_in(value: Any, place: str) -> Iterator[str]:
    if isinstance(value, list | tuple):
        for item in value:
            yield from _code_in(item, place)
    if not isinstance(value, dict):
        return
    kind = value.get("class_name")
    config = value.get("config")
    if isinstance(config, dict) and isinstance(config.get("name"), str):
        place = config["name"]
    if kind in CODE_LAYERS:
        yield f"{kind} in {place}"
    if kind == "function" and not _is_activation(value.get("module")):
        yield f"the function {value.get('module')}.{config} in {place}"
    for key, item in value.items():
        if key in FUNCTION_KEYS and isinstance(item, dict) and "class_name" not in item:
            yield f"code as the {key} of {place}"
        yield from _code_in(item, place)


def _is_activation(module: Any) -> bool:
    parts = module.split(".") if isinstance(module, str) else [""]
    return parts[0] in ("keras", "tf_keras") and "activations" in parts


def _outside_data(group: h5py.Group, place: str) -> Iterator[tuple[str, str]]:
    for name in group:
        here = f"{place}/{name}"
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            yield here, f"a link to {link.filename}"
        elif isinstance(link, h5py.SoftLink):
            yield here, f"a link to {link.path}"
        elif group.get(name, getclass=True) is h5py.Group:
            yield from _outside_data(group[name], here)
        elif isinstance(item := group[name], h5py.Dataset):
            if item.external:
                yield here, f"stored in {item.external[0][0]}"
            elif item.is_virtual:
                yield here, "a virtual dataset"
