"""Stage `train_save`: trains the sample network and saves it in every form, or takes in the user's model unchanged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np

from dnndk_prep.data.parts import Part
from dnndk_prep.data.sources import imdb
from dnndk_prep.errors import ModelFileError
from dnndk_prep.keras_io.load import (
    ZIP_SIGNATURE,
    KerasSource,
    architecture_beside,
    read_architecture_weights,
    read_model,
)
from dnndk_prep.keras_io.sample_net import build_sample_cnn
from dnndk_prep.keras_io.sample_others import build_segmenter, build_text_classifier, build_vector_classifier
from dnndk_prep.keras_io.save import ARCHITECTURE, ARCHIVE, COMPLETE, WEIGHTS, save_all
from dnndk_prep.keras_io.train import Examples, train
from dnndk_prep.stages import _inputs
from dnndk_prep.stages._model import SOURCE_JSON, custom_objects
from dnndk_prep.stages.context import StageContext
from dnndk_prep.workspace import sha256_file


def run(ctx: StageContext) -> dict[str, Any]:
    """Write the saved forms and history.json, or the user's files and source.json."""
    return _take_in(ctx) if ctx.cfg.model.given else _train(ctx)


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


def _train(ctx: StageContext) -> dict[str, Any]:
    dataset, options = _inputs.dataset(ctx.cfg), ctx.cfg.train_save
    part = dataset.train
    classes = _classes(part, dataset.class_names)
    model = _network(ctx, part, classes)
    examples = Examples(len(part), lambda numbers: _batch(ctx, part, numbers))
    history = train(
        model,
        examples,
        epochs=options.epochs,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        seed=ctx.cfg.seed,
        scratch=ctx.scratch,
        key=ctx.key,
        say=lambda text: ctx.say(f"train_save: {text}"),
    )
    save_all(model, ctx.out, history)
    last = {name: values[-1] for name, values in history.items()}
    return {"trained": True, "parameters": model.count_params(), "images": len(part), "last_epoch": last}


def _network(ctx: StageContext, part: Part, classes: int) -> keras.Model:
    """The sample network for this kind of data."""
    shapes, seed = list(part.shapes(_inputs.preprocess(ctx.cfg)).values()), ctx.cfg.seed
    if len(shapes) == 1:
        match shapes[0]:
            case (length,) if ctx.cfg.dataset.name == "imdb":
                return build_text_classifier(length, imdb.WORDS, classes, seed)
            case (length,):
                return build_vector_classifier(length, classes, seed)
            case (height, width, channels):
                build = build_segmenter if part.has_masks else build_sample_cnn
                return build((height, width, channels), classes, seed)
    raise ModelFileError(
        "no sample network learns this dataset",
        expected="one input: images, word numbers or vectors",
        found=f"{len(shapes)} input(s) of shape {', '.join(map(str, shapes))}",
        remedy="give a trained model of your own: model.path",
    )


def _batch(ctx: StageContext, part: Part, numbers: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    preprocess, size, indices = _inputs.preprocess(ctx.cfg), len(numbers), numbers.tolist()
    labels = next(part.label_batches(preprocess, size, indices))
    assert labels is not None
    return next(part.batches(preprocess, size, indices)), labels


def _classes(part: Part, names: tuple[str, ...]) -> int:
    if part.labels is None and not part.has_masks:
        raise ModelFileError(
            "the dataset has no labels to train on",
            expected="labels: one folder a class, y_train in an .npz, or dataset.masks",
            found="none",
            remedy="add them, or give a trained model: model.path",
        )
    if names:
        return len(names)
    if part.labels is not None:
        return int(part.labels.max()) + 1
    return 1 + max(int(part.load_mask(i).max()) for i in range(len(part)))
