"""Reads the files a Keras model comes in, by their content: whatever they are, they become one `KerasSource`."""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from dnndk_prep.errors import ModelFileError
from dnndk_prep.keras_io.architecture import expect_complete, layers_of, without_masks
from dnndk_prep.keras_io.scan import refuse_code, refuse_outside_data
from dnndk_prep.keras_io.through_keras import archive_to_hdf5, first_line, major, weights_to_hdf5

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
ZIP_SIGNATURE = b"PK\x03\x04"
# Far above any architecture; a small archive must not unpack into all memory.
MAX_CONFIG_BYTES = 256 * 2**20
SAVE_AGAIN = "save the model again: model.save('model.h5')"


@dataclass(frozen=True)
class KerasSource:
    """A model in the one form that all formats become.

    config: the architecture, {"class_name", "config"}, of `keras_version`; batch axes free, no mask operations.
    weights: an HDF5 file in the classic layout, at its root or in its group model_weights.
    """

    file: str
    config: dict[str, Any]
    keras_version: str
    weights: Path
    # Holds the folder of a weights file that was made here; the folder goes with it.
    kept: tempfile.TemporaryDirectory[str] | None = None

    @property
    def is_keras3(self) -> bool:
        return major(self.keras_version) >= 3


def read_model(path: Path) -> KerasSource:
    """A complete model: an HDF5 file or a .keras archive of Keras 2 or 3.

    Raises ModelFileError for anything else, and UnsafeFileError where opening it would run code or read other files.
    """
    signature = _signature(path)
    if signature.startswith(HDF5_SIGNATURE):
        return _from_hdf5(path)
    if signature.startswith(ZIP_SIGNATURE):
        return _from_archive(path)
    is_json = signature.lstrip()[:1] in (b"{", b"[")
    raise ModelFileError(
        f"{path} is not a complete Keras model",
        expected="an HDF5 file (.h5) or a .keras archive that holds architecture and weights",
        found="JSON text" if is_json else f"a file that begins with {signature[:8]!r}",
        remedy="give it as model.architecture together with model.weights" if is_json else SAVE_AGAIN,
    )


def read_architecture_weights(architecture: Path, weights: Path) -> KerasSource:
    """A model in two files: the architecture as JSON and the weights as HDF5, of whatever layout.

    Raises as `read_model` does.
    """
    config, version = _parse(_read_text(architecture), str(architecture))
    refuse_code(config, str(architecture))
    signature = _signature(weights)
    if not signature.startswith(HDF5_SIGNATURE):
        raise ModelFileError(
            f"{weights} is not a weights file",
            expected="an HDF5 file of weights (.h5, .weights.h5)",
            found=f"a file that begins with {signature[:8]!r}",
            remedy="save the weights again: model.save_weights('model.weights.h5')",
        )
    with open_hdf5(weights) as file:
        layout = _layout(file)
    if layout == "classic":
        return KerasSource(str(weights), _normal(config, str(architecture)), version, weights)
    if layout == "none":
        raise ModelFileError(
            f"{weights} holds no weights of a Keras model",
            expected="layer_names, model_weights or layers in the HDF5 file",
            found="none of them",
            remedy="save the weights again: model.save_weights('model.weights.h5')",
        )
    # Only the Keras that wrote this layout reads it.
    writer = version if layout == "keras3" or major(version) < 3 else "2"
    made = weights_to_hdf5(config, weights, writer)
    return KerasSource(str(weights), _normal(config, str(architecture)), version, Path(made.name) / "model.h5", made)


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """The HDF5 file, open for reading; what HDF5 finds wrong with it is a ModelFileError."""
    try:
        with h5py.File(path, "r") as file:
            refuse_outside_data(file)
            yield file
    except (OSError, RuntimeError, KeyError) as error:
        raise ModelFileError(
            f"{path} cannot be read as HDF5",
            expected="a whole HDF5 file",
            found=f"{first_line(error)} ({path.stat().st_size} bytes)",
            remedy="copy the file again (it may be cut short), or save the model again",
        ) from error


def _signature(path: Path) -> bytes:
    if path.is_dir():
        saved = (path / "saved_model.pb").exists()
        raise ModelFileError(
            f"{path} is a folder",
            expected="a model file",
            found="a SavedModel folder" if saved else "a folder",
            remedy=SAVE_AGAIN,
        )
    try:
        with path.open("rb") as file:
            signature = file.read(64)
    except FileNotFoundError as error:
        near = sorted(p.name for p in path.parent.glob("*") if p.suffix in (".h5", ".hdf5", ".keras", ".json"))
        raise ModelFileError(
            f"{path} does not exist",
            expected="a model file",
            found=f"in {path.parent}: {', '.join(near[:5]) or 'no model file'}",
            remedy="correct the path",
        ) from error
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read", found=error.strerror, remedy="make it readable") from error
    if not signature:
        raise ModelFileError(f"{path} is empty", expected="a model file", found="0 bytes", remedy="copy it again")
    return signature


def _from_hdf5(path: Path) -> KerasSource:
    with open_hdf5(path) as file:
        text = file.attrs.get("model_config")
        layout = _layout(file)
        version = _text(file.attrs.get("keras_version") or "")
    if text is None:
        raise ModelFileError(
            f"{path} holds no architecture",
            expected="an HDF5 file with the attribute model_config",
            found="a weights file" if layout != "none" else "an HDF5 file that Keras did not write",
            remedy="give the architecture, too: model.architecture + model.weights" if layout != "none" else SAVE_AGAIN,
        )
    config, told = _parse(_text(text), str(path))
    refuse_code(config, str(path))
    return KerasSource(str(path), _normal(config, str(path)), version or told, path)


def _from_archive(path: Path) -> KerasSource:
    try:
        with zipfile.ZipFile(path) as archive:
            config, version = _parse(_member(archive, "config.json"), f"{path}: config.json")
            metadata = json.loads(_member(archive, "metadata.json"))
            broken = archive.testzip()
    except (zipfile.BadZipFile, KeyError, EOFError, json.JSONDecodeError) as error:
        raise ModelFileError(
            f"{path} is not a whole .keras archive",
            expected="a zip archive with config.json, metadata.json and model.weights.h5",
            found=first_line(error),
            remedy="copy the file again (it may be cut short), or save the model again",
        ) from error
    if broken:
        raise ModelFileError(f"{path} is damaged", found=f"a wrong checksum in {broken}", remedy="copy it again")
    refuse_code(config, str(path))
    version = metadata.get("keras_version", version)
    made = archive_to_hdf5(path, version)
    with open_hdf5(Path(made.name) / "model.h5") as file:
        config, _ = _parse(_text(file.attrs["model_config"]), str(path))
    return KerasSource(str(path), _normal(config, str(path)), version, Path(made.name) / "model.h5", made)


def _member(archive: zipfile.ZipFile, name: str) -> str:
    size = archive.getinfo(name).file_size
    if size > MAX_CONFIG_BYTES:
        raise zipfile.BadZipFile(f"{name} of {size} bytes")
    return archive.read(name).decode("utf-8", errors="replace")


def _layout(file: h5py.File) -> str:
    if "layer_names" in file.attrs or "model_weights" in file:
        return "classic"
    if "_layer_checkpoint_dependencies" in file:
        return "keras2"
    return "keras3" if "layers" in file or "vars" in file else "none"


def _read_text(path: Path) -> str:
    _signature(path)
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ModelFileError(
            f"{path} is not an architecture",
            expected="JSON as model.to_json() writes it",
            found="a binary file",
            remedy="give a complete model as model.path",
        ) from error


def _parse(text: str, file: str) -> tuple[dict[str, Any], str]:
    """The architecture in `text`, and the version of the Keras that wrote it."""
    try:
        config = json.loads(text)
        found = "JSON without class_name and config"
    except ValueError as error:
        config, found = None, f"no JSON: {error}"
    if not isinstance(config, dict) or "class_name" not in config or not isinstance(config.get("config"), dict | list):
        raise ModelFileError(
            f"{file} is not an architecture",
            expected="JSON as model.to_json() writes it, with class_name and config",
            found=found,
            remedy="write it again: open('model.json', 'w').write(model.to_json())",
        )
    for layer in layers_of(config):
        # Losses and metrics may be of the user's own; nothing here trains.
        layer.pop("compile_config", None)
    # Keras 2 writes its version into the JSON, Keras 3 does not.
    version = config.get("keras_version") or ("3" if "module" in config or _has(config, "batch_shape") else "2")
    return {key: value for key, value in config.items() if key not in ("keras_version", "backend")}, str(version)


def _has(config: dict[str, Any], key: str) -> bool:
    return any(isinstance(layer.get("config"), dict) and key in layer["config"] for layer in layers_of(config))


def _normal(config: dict[str, Any], file: str) -> dict[str, Any]:
    """The architecture without mask operations, the batch axis free unless a stateful layer needs a fixed one."""
    with expect_complete(file):
        result = deepcopy(without_masks(config))
        settings = [layer["config"] for layer in layers_of(result) if isinstance(layer.get("config"), dict)]
        if not any(setting.get("stateful") for setting in settings):
            for setting in settings:
                for key in ("batch_shape", "batch_input_shape"):
                    if setting.get(key):
                        setting[key] = [None, *setting[key][1:]]
        return result


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)
