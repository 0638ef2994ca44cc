"""Lets Keras itself read the formats that only it reads, and writes what it read as an HDF5 file."""

from __future__ import annotations

import inspect
import json
import logging
import math
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py

from dnndk_prep.errors import DnndkPrepError, ModelFileError
from dnndk_prep.hdf5_file import written
from dnndk_prep.keras_defaults import set_defaults
from dnndk_prep.keras_io.built_limits import limited_calls
from dnndk_prep.keras_io.custom import NO_CUSTOM_OBJECTS, CustomObjects
from dnndk_prep.keras_io.finite import finite
from dnndk_prep.keras_io.stored_weights import write_complete
from dnndk_prep.said import first_line

# Beside the stored weights Keras makes some that it does not store: counters and states of random numbers.
UNSTORED_WEIGHTS = 2**20
# What Keras 2.12 called the group of a model's layers, which is "layers" since 2.13.
OLD_GROUP = "_layer_checkpoint_dependencies"


def weights_to_hdf5(
    config: dict[str, Any],
    weights: Path,
    version: str,
    numbers: int,
    custom: CustomObjects = NO_CUSTOM_OBJECTS,
    file: str | None = None,
) -> tempfile.TemporaryDirectory[str]:
    """The weights in a newer layout, written by Keras `version`, in the classic one: model.h5 in a new folder.

    file: what the user calls the file that they came in. numbers: how many the weights file holds; an architecture that
    needs many more is not built. Both files were looked at by `scan` before. Raises ModelFileError for what Keras
    cannot load.
    """
    load = partial(_load_weights, config=config, weights=weights, numbers=numbers, custom=custom)

    return _through_keras(version, file or str(weights), load, partial(_write_weights, version))


def untrained_hdf5(config: dict[str, Any], file: str, version: str, numbers: int) -> tempfile.TemporaryDirectory[str]:
    """An architecture with the weights that Keras `version` begins with, as model.h5 in a new folder.

    numbers: how many weights there will be; an architecture that needs many more is not built. It was looked at by
    `scan` before. Raises ModelFileError for what Keras cannot build.
    """

    def build(keras: ModuleType, folder: Path) -> Any:
        with _at_most(keras, numbers + UNSTORED_WEIGHTS):
            return keras.models.model_from_json(json.dumps(finite(config)))

    def write(model: Any, target: Path) -> None:
        weights = target.with_name("weights.h5")
        _write_weights(version, model, weights)
        write_complete(config, import_keras(version).__version__, weights, target)

    return _through_keras(version, file, build, write)


def import_keras(version: str) -> ModuleType:
    """The Keras that reads files of `version`: keras, or tf_keras for Keras 2 and before."""
    if major(version) >= 3:
        # Keras chooses its backend while it is imported.
        os.environ["KERAS_BACKEND"] = "tensorflow"
        import keras as found
    else:
        import tf_keras as found
    set_defaults(found)
    return found


def _write_weights(version: str, model: Any, target: Path) -> None:
    # Not model.save: it copies all objects of the model, and some layers cannot be copied.
    with written(target) as stored:
        _classic_layout(version).save_weights_to_hdf5_group(stored, model)


def _classic_layout(version: str) -> ModuleType:
    if major(version) >= 3:
        from keras.src.legacy.saving import legacy_h5_format

        return legacy_h5_format
    from tf_keras.src.saving.legacy import hdf5_format

    return hdf5_format


def major(version: str) -> int:
    """The first number of a version; 2 where there is none, as in files of the first Keras."""
    head = version.split(".")[0]
    return int(head) if head.isdigit() else 2


def _through_keras(
    version: str, file: str, load: Callable[[ModuleType, Path], Any], write: Callable[[Any, Path], None]
) -> tempfile.TemporaryDirectory[str]:
    """Let the Keras of that version load a model, and write it as model.h5 into a new folder."""
    keras = import_keras(version)
    made = tempfile.TemporaryDirectory(prefix="dnndk_prep_")
    try:
        with _no_advice(), limited_calls([keras.layers.Layer]):
            model = load(keras, Path(made.name))
            write(model, Path(made.name) / "model.h5")
    except DnndkPrepError:
        raise
    # Keras raises whatever it meets; all of it means that this file is not what it says.
    except Exception as error:
        raise ModelFileError(
            f"Keras {keras.__version__} cannot load {file}",
            expected="a file that the Keras which wrote it can load",
            found=first_line(error),
            remedy="check that architecture and weights belong together and were saved by the same Keras",
        ) from error
    return made


@contextmanager
def _no_advice() -> Iterator[None]:
    """Without Keras' advice against .h5 files: this one is not the user's."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            yield
    finally:
        logger.setLevel(level)


def _load_weights(
    keras: ModuleType, folder: Path, config: dict[str, Any], weights: Path, numbers: int, custom: CustomObjects
) -> Any:
    # Not load_model: it would read what else the user's archive holds, and what it says about training.
    scope = keras.utils.custom_object_scope(custom.scope(keras, config))
    with _at_most(keras, numbers + UNSTORED_WEIGHTS), scope:
        model = keras.layers.deserialize(finite(config))
        model.load_weights(_readable(weights, folder / "model.weights.h5"))
    return model


@contextmanager
def _at_most(keras: ModuleType, limit: int) -> Iterator[None]:
    """Layers refuse to make more than `limit` numbers of weights: Keras makes room before it looks at stored ones."""
    original = keras.layers.Layer.add_weight
    signature = inspect.signature(original)
    made = 0

    def add_weight(*args: Any, **kwargs: Any) -> Any:
        nonlocal made
        shape = signature.bind(*args, **kwargs).arguments.get("shape") or ()
        made += math.prod(int(size) for size in ([shape] if isinstance(shape, int) else shape) if size is not None)
        if made > limit:
            raise ValueError(f"the architecture needs more than the {limit} numbers that its weights may have")
        return original(*args, **kwargs)

    keras.layers.Layer.add_weight = add_weight
    try:
        yield
    finally:
        keras.layers.Layer.add_weight = original


def _readable(path: Path, name: Path) -> str:
    """The file under a name from which Keras tells its format, with the names of groups that it reads today."""
    with h5py.File(path, "r") as file:
        is_of_today = OLD_GROUP not in file
    if is_of_today:
        name.symlink_to(path.resolve())
    else:
        shutil.copyfile(path, name)
        with h5py.File(name, "r+") as file:
            _rename_groups(file)
    return str(name)


def _rename_groups(group: h5py.Group) -> None:
    if OLD_GROUP in group:
        group.move(OLD_GROUP, "layers")
    for item in group.values():
        if isinstance(item, h5py.Group):
            _rename_groups(item)
