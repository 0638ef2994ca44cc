"""The model that train_save left, as one source."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from dnndk_prep.config import Config
from dnndk_prep.errors import StageError
from dnndk_prep.keras_io import saved_forms
from dnndk_prep.keras_io.custom import NO_CUSTOM_OBJECTS, CustomObjects, load_custom_objects
from dnndk_prep.keras_io.load import KerasSource, read_architecture_weights, read_model

SOURCE_JSON = "source.json"
SOURCES = ("complete", "json_weights", "checkpoint")


def custom_objects(cfg: Config) -> CustomObjects:
    """What model.custom_objects names, imported; the pipeline has asked for permission."""
    return load_custom_objects(cfg.model.custom_objects, cfg.model.folder)


def read_source(folder: Path, wanted: str | None, custom: CustomObjects = NO_CUSTOM_OBJECTS) -> tuple[KerasSource, str]:
    """The model in the form `wanted`, or in the first form that `folder` has, and that form's name.

    Raises StageError if `folder` does not have the form that is wanted.
    """
    there = {
        "complete": (saved_forms.COMPLETE, saved_forms.ARCHIVE),
        "checkpoint": (saved_forms.CHECKPOINT,),
        "json_weights": (saved_forms.ARCHITECTURE, saved_forms.WEIGHTS),
    }
    for name in [wanted] if wanted else SOURCES:
        files = [folder / file for file in there[name] if (folder / file).exists()]
        if name == "json_weights" and len(files) == 2:
            return _as_called(read_architecture_weights(files[0], files[1], custom), files[1]), name
        if name != "json_weights" and files:
            return _as_called(read_model(files[0], custom), files[0]), name
    present = sorted(path.name for path in folder.iterdir())
    raise StageError(
        f"{folder.name} does not hold the model that keras_2_tf.source: {wanted} asks for",
        expected=" or ".join(there[wanted]) if wanted else "a saved model",
        found=", ".join(present) or "nothing",
        remedy="leave keras_2_tf.source out, or run again with --from train_save",
    )


def _as_called(source: KerasSource, copy: Path) -> KerasSource:
    """The source under the name that its file has with the user, who has never seen the copy."""
    told = copy.with_name(SOURCE_JSON)
    files = json.loads(told.read_text(encoding="utf-8"))["files"] if told.exists() else []
    names = [file["name"] for file in files if file.get("saved_as") == copy.name]
    return replace(source, file=names[0]) if names else source
