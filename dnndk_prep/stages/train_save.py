"""Stage `train_save`: trains the sample network and saves it in every form, or takes in the user's model unchanged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from dnndk_prep.keras_defaults import keras_defaults
from dnndk_prep.keras_io.load import (
    ZIP_SIGNATURE,
    KerasSource,
    architecture_beside,
    read_architecture_weights,
    read_model,
)
from dnndk_prep.keras_io.saved_forms import ARCHITECTURE, ARCHIVE, COMPLETE, WEIGHTS
from dnndk_prep.stages._model import SOURCE_JSON, custom_objects
from dnndk_prep.stages.context import StageContext
from dnndk_prep.workspace import sha256_file


def run(ctx: StageContext) -> dict[str, Any]:
    """Write the saved forms and history.json, or the user's files and source.json."""
    if ctx.cfg.model.given:
        return _take_in(ctx)
    # Importing Keras takes seconds, and only training needs it.
    from dnndk_prep.stages._training import train_sample

    # Keras was not there yet when the stage began.
    with keras_defaults():
        return train_sample(ctx)


def _take_in(ctx: StageContext) -> dict[str, Any]:
    model, custom = ctx.cfg.model, custom_objects(ctx.cfg)
    beside = architecture_beside(model.path) if model.path is not None else None
    if model.path is not None and beside is None:
        source = read_model(model.path, custom)
        with model.path.open("rb") as file:
            is_archive = file.read(len(ZIP_SIGNATURE)) == ZIP_SIGNATURE
        files = {ARCHIVE if is_archive else COMPLETE: model.path}
    else:
        architecture, weights = beside or model.architecture, model.path or model.weights
        assert architecture is not None
        assert weights is not None
        if beside is not None:
            ctx.say(f"train_save: {weights.name} holds weights alone; with the architecture beside it, {beside.name}")
        source = read_architecture_weights(architecture, weights, custom)
        files = {ARCHITECTURE: architecture, WEIGHTS: weights}
    for name, path in files.items():
        shutil.copyfile(path, ctx.out / name)
    _write_source(ctx.out, source, files)
    return {"trained": False, "keras": source.keras_version, "files": [path.name for path in files.values()]}


def _write_source(out: Path, source: KerasSource, files: dict[str, Path]) -> None:
    facts = {
        "keras_version": source.keras_version,
        "files": [
            {"name": path.name, "saved_as": name, "sha256": sha256_file(out / name)} for name, path in files.items()
        ],
    }
    (out / SOURCE_JSON).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
