"""Saves a trained model in every form that the application note names, and as `.keras`; equal models, equal bytes."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras
from keras.src.legacy.saving import legacy_h5_format

from dnndk_prep import repeatable
from dnndk_prep.hdf5_file import copy_into, written
from dnndk_prep.keras_io.sample_net import compile_classifier
from dnndk_prep.keras_io.saved_forms import ARCHITECTURE, ARCHIVE, CHECKPOINT, COMPLETE, HISTORY, WEIGHTS


def save_all(model: keras.Model, folder: Path, history: dict[str, list[float]]) -> None:
    """Write the six files into `folder`: complete model, JSON + weights, last checkpoint, archive, history.

    The complete model and the checkpoint hold the optimizer's state; the weights file holds weights alone.
    """
    write_complete_model(model, folder / COMPLETE)
    (folder / ARCHITECTURE).write_text(json.dumps(json.loads(model.to_json()), indent=2) + "\n")
    _weights_alone(folder / COMPLETE, folder / WEIGHTS)
    # The checkpoint of the last epoch holds what the complete model holds.
    (folder / CHECKPOINT).write_bytes((folder / COMPLETE).read_bytes())
    # Writing an h5 takes the optimizer out of the compile settings (Keras 3.15); the archive would lack it.
    compile_classifier(model, model.optimizer)
    model.save(folder / ARCHIVE)
    _make_repeatable(folder / ARCHIVE)
    (folder / HISTORY).write_text(json.dumps(history, indent=2) + "\n")


def write_complete_model(model: keras.Model, path: Path) -> None:
    """Write architecture, weights, training settings and the optimizer's state as the h5 of `model.save`."""
    with written(path) as file:
        legacy_h5_format.save_model_to_hdf5(model, file)


def _weights_alone(complete: Path, weights: Path) -> None:
    """Copy the group model_weights of a complete model: it is the layout that Keras 1 and 2 wrote weights files in.

    Keras 3 itself writes weights in another layout, which no older Keras reads.
    """
    with h5py.File(complete, "r") as source, written(weights) as target:
        copy_into(source["model_weights"], target)


def _make_repeatable(archive: Path) -> None:
    """Rewrite a .keras without what differs from run to run: dates, and memory addresses as objects' numbers."""
    pending = archive.with_suffix(".new")
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(pending, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name == "metadata.json":
                facts = json.loads(content)
                facts["date_saved"] = "1980-01-01@00:00:00"
                content = json.dumps(facts).encode()
            if name == "config.json":
                content = json.dumps(_renumbered(json.loads(content), {})).encode()
            target.writestr(repeatable.member(name), content)
    pending.replace(archive)


def _renumbered(value: Any, numbers: dict[int, int]) -> Any:
    """`value` with each shared_object_id replaced by its place in the order of first appearance, from 1."""
    if isinstance(value, list):
        return [_renumbered(item, numbers) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: numbers.setdefault(item, len(numbers) + 1) if key == "shared_object_id" else _renumbered(item, numbers)
        for key, item in value.items()
    }
