"""Trains the sample network that fits the configured dataset, and saves it in every form."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from dnndk_prep.data.parts import Part
from dnndk_prep.data.sources import imdb
from dnndk_prep.errors import ModelFileError
from dnndk_prep.keras_io.sample_net import build_sample_cnn
from dnndk_prep.keras_io.sample_others import build_segmenter, build_text_classifier, build_vector_classifier
from dnndk_prep.keras_io.save import save_all
from dnndk_prep.keras_io.train import Examples, train
from dnndk_prep.stages import _inputs
from dnndk_prep.stages.context import StageContext


def train_sample(ctx: StageContext) -> dict[str, Any]:
    """Write the saved forms and history.json."""
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
