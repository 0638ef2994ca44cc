"""Reads the files a Keras model comes in, by their content: whatever they are, they become one `KerasSource`."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py

from dnndk_prep.errors import ModelFileError
from dnndk_prep.keras_io.activation_names import with_own_activations
from dnndk_prep.keras_io.architecture import expect_complete, layers_of, with_old_resizes
from dnndk_prep.keras_io.custom import NO_CUSTOM_OBJECTS, CustomObjects
from dnndk_prep.keras_io.scan import HDF5_SIGNATURE, SAVE_AGAIN, Contents, scan, scan_architecture, scan_weights
from dnndk_prep.keras_io.scan import ZIP_SIGNATURE as ZIP_SIGNATURE
from dnndk_prep.keras_io.scan import signature_of as _signature
from dnndk_prep.keras_io.supported import check_supported
from dnndk_prep.keras_io.theano import converted
from dnndk_prep.keras_io.through_keras import major, weights_to_hdf5
from dnndk_prep.said import first_line

# What people write between the name of a model and what kind of file this is.
STEM = re.compile(r"(?i)([._-]?weights)?(\.(h5|hdf5|hdf))+$")


@dataclass(frozen=True)
class KerasSource:
    """A model in the one form that all formats become.

    config: the architecture, {"class_name", "config"}, of `keras_version`; batch axes free.
    weights: an HDF5 file in the classic layout, at its root or in its group model_weights.
    """

    file: str
    config: dict[str, Any]
    keras_version: str
    weights: Path
    # What the user brings along for classes that Keras does not have.
    custom: CustomObjects = NO_CUSTOM_OBJECTS
    # Holds the folder of a weights file that was made here; the folder goes with it.
    kept: tempfile.TemporaryDirectory[str] | None = None

    @property
    def is_keras3(self) -> bool:
        return major(self.keras_version) >= 3


def read_model(path: Path, custom: CustomObjects = NO_CUSTOM_OBJECTS) -> KerasSource:
    """A complete model: an HDF5 file or a .keras archive of Keras 2 or 3, or weights with their JSON beside them.

    Raises ModelFileError for anything else, and UnsafeFileError where opening it would run code or read other files.
    """
    contents = scan(path, custom=custom.file_names)
    if contents.architecture is None:
        is_weights = contents.layout != "none"
        if is_weights and (architecture := architecture_beside(path)):
            return read_architecture_weights(architecture, path, custom)
        raise ModelFileError(
            f"{path} holds no architecture",
            expected="an HDF5 file with the attribute model_config",
            found="a weights file" if is_weights else "an HDF5 file that Keras did not write",
            remedy=_how_to_add(path) if is_weights else SAVE_AGAIN,
            code="K2D-0007",
        )
    if contents.weights is None:
        raise ModelFileError(
            f"{path} holds an architecture without weights",
            expected="an HDF5 file (.h5) or a .keras archive that holds both",
            found="JSON text, whatever the file is called",
            remedy=f"give the weights, too: model.architecture: {path.name} with model.weights: the file of"
            " model.save_weights('model.weights.h5')",
            code="K2D-0007",
        )
    if contents.kind == "archive":
        return _from_archive(contents, custom)
    config, version = _config_and_version(contents, custom)
    return _modern(KerasSource(str(path), _normal(config, str(path), version), version, path, custom))


def architecture_beside(weights: Path) -> Path | None:
    """The JSON file that belongs to a weights file by its name: net.json to net.h5, net.weights.h5 and net_weights.h5.

    None where there is none, and where the file at `weights` holds an architecture itself or is no HDF5 file.
    """
    beside = weights.with_name(STEM.sub("", weights.name) + ".json")
    if beside == weights or not beside.is_file() or not weights.is_file():
        return None
    if not _signature(weights).startswith(HDF5_SIGNATURE) or scan_weights(weights).layout == "none":
        return None
    with open_hdf5(weights) as file:
        return None if "model_config" in file.attrs else beside


def read_architecture_weights(
    architecture: Path, weights: Path, custom: CustomObjects = NO_CUSTOM_OBJECTS
) -> KerasSource:
    """A model in two files: the architecture as JSON and the weights as HDF5, of whatever layout.

    Raises as `read_model` does.
    """
    _signature(architecture)
    signature = _signature(weights)
    if not signature.startswith(HDF5_SIGNATURE):
        raise ModelFileError(
            f"{weights} is not a weights file",
            expected="an HDF5 file of weights (.h5, .weights.h5)",
            found=f"a file that begins with {signature[:8]!r}",
            remedy="save the weights again: model.save_weights('model.weights.h5')",
        )
    stored = scan_weights(weights)
    if stored.layout == "none":
        raise ModelFileError(
            f"{weights} holds no weights of a Keras model",
            expected="layer_names, model_weights or layers in the HDF5 file",
            found="none of them",
            remedy="save the weights again: model.save_weights('model.weights.h5')",
        )
    told = scan_architecture(architecture, weights=stored, custom=custom.file_names)
    config, version = _config_and_version(told, custom)
    if stored.layout == "classic":
        return _modern(KerasSource(str(weights), _normal(config, str(architecture), version), version, weights, custom))
    check_supported(config, str(architecture), custom.names, version)
    # Only the Keras that wrote this layout reads it.
    writer = version if stored.layout == "keras3" or major(version) < 3 else "2"
    made = weights_to_hdf5(config, weights, writer, stored.numbers, custom)
    classic = Path(made.name) / "model.h5"
    return _modern(
        KerasSource(str(weights), _normal(config, str(architecture), version), version, classic, custom, made)
    )


def _modern(source: KerasSource) -> KerasSource:
    """The model as Keras 2 on TensorFlow has it, where Keras 1 or Theano wrote it or its channels come first."""
    with open_hdf5(source.weights) as file:
        group = file.get("model_weights", file)
        made = converted(source.config, group, source.keras_version, source.file)
    if made is None:
        return source
    return replace(source, config=made[0], keras_version="2", weights=Path(made[1].name) / "model.h5", kept=made[1])


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """The HDF5 file, open for reading; what HDF5 finds wrong with it is a ModelFileError."""
    scan_weights(path)
    try:
        with h5py.File(path, "r") as file:
            yield file
    # The last three: text that is not UTF-8, and types and sizes that numpy does not have.
    except (OSError, RuntimeError, KeyError, UnicodeDecodeError, ValueError, TypeError) as error:
        raise ModelFileError(
            f"{path} cannot be read as HDF5",
            expected="a whole HDF5 file",
            found=f"{first_line(error)} ({path.stat().st_size} bytes)",
            remedy="copy the file again (it may be cut short), or save the model again",
        ) from error


def _how_to_add(weights: Path) -> str:
    stem = STEM.sub("", weights.name)
    near = [path.name for path in sorted(weights.parent.glob("*.json")) if path.is_file()]
    give = f"model.architecture: {near[0] if len(near) == 1 else f'{stem}.json'} with model.weights: {weights.name}"
    there = f" (there: {', '.join(near[:5])})" if near else ""
    return f"give the architecture, too: {give}{there}; open('{stem}.json', 'w').write(model.to_json()) writes it"


def _from_archive(contents: Contents, custom: CustomObjects) -> KerasSource:
    file, weights = contents.file, contents.weights
    assert weights is not None
    if contents.assets:
        raise ModelFileError(
            f"{file} keeps vocabularies of text layers",
            expected="a model of numbers: no graph for the DPU holds words",
            found=", ".join(contents.assets[:5]),
            remedy="save the part of the model that comes after the text layers",
        )
    config, told = _config_and_version(contents, custom)
    version = contents.keras_version or told
    check_supported(config, file, custom.names, version)
    made = weights_to_hdf5(config, weights, version, contents.numbers, custom, file)
    return _modern(
        KerasSource(file, _normal(config, file, version), version, Path(made.name) / "model.h5", custom, made)
    )


def _config_and_version(contents: Contents, custom: CustomObjects) -> tuple[dict[str, Any], str]:
    """The architecture, and the version of the Keras that wrote it."""
    config = contents.architecture
    assert config is not None
    # Keras 2 writes its version into the JSON, Keras 3 does not.
    version = contents.keras_version or ("3" if "module" in config or _has(config, "batch_shape") else "2")
    plain = {key: value for key, value in config.items() if key not in ("keras_version", "backend")}
    return with_own_activations(plain, contents.file, custom.names), version


def _has(config: dict[str, Any], key: str) -> bool:
    return any(isinstance(layer.get("config"), dict) and key in layer["config"] for layer in layers_of(config))


def _normal(config: dict[str, Any], file: str, version: str) -> dict[str, Any]:
    """The architecture with the batch axis free, unless a stateful layer needs a fixed one."""
    with expect_complete(file):
        result = deepcopy(config if major(version) >= 3 else with_old_resizes(config, version))
        settings = [layer["config"] for layer in layers_of(result) if isinstance(layer.get("config"), dict)]
        if not any(setting.get("stateful") for setting in settings):
            for setting in settings:
                for key in ("batch_shape", "batch_input_shape"):
                    if setting.get(key):
                        setting[key] = [None, *setting[key][1:]]
        return result
