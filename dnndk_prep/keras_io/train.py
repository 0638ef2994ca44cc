"""Trains a Keras 3 model so that an interrupted training ends bit for bit as an undisturbed one.

All that an epoch draws by chance depends on (seed, epoch) alone: the order of the examples and the dropout. All else is
in the checkpoint: weights, the optimizer's slots and its step count, from which the learning rate follows.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework import config as tf_config
from tqdm import tqdm

from dnndk_prep.keras_io.resume import Progress, Resume, training_key
from dnndk_prep.keras_io.sample_net import compile_classifier
from dnndk_prep.keras_io.save import write_complete_model

History = dict[str, list[float]]
Load = Callable[[np.ndarray], tuple[list[np.ndarray], np.ndarray]]


@dataclass(frozen=True)
class Examples:
    """`count` training examples; `load(numbers)` gives one float32 array an input, and integer labels."""

    count: int
    load: Load


def train(
    model: keras.Model,
    examples: Examples,
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    scratch: Path,
    key: str,
    say: Callable[[str], None],
) -> History:
    """Train `model` in place and return loss and accuracy of each epoch.

    After each epoch the complete model goes to `scratch`; a training that finds its own checkpoint there (by hash, and
    by `key`, the settings and the architecture) goes on from it. `key` stands for the data: the caller changes it when
    they change. Adam with a learning rate that falls from `learning_rate` to 0 along a cosine, sparse cross-entropy.
    """
    keras.utils.set_random_seed(seed)
    steps = math.ceil(examples.count / batch_size)
    settings = [key, epochs, batch_size, learning_rate, seed, examples.count, model.to_json()]
    with _deterministic_ops():
        _compile(model, learning_rate, epochs * steps)
        resume = Resume(scratch, training_key(settings))
        progress = resume.restore(model, say)
        for epoch in range(progress.epochs_done, epochs):
            progress = _one_epoch(model, examples, progress, _Run(epoch, epochs, batch_size, seed), resume, say)
    return progress.history


@dataclass(frozen=True)
class _Run:
    """The place of an epoch in its training."""

    epoch: int
    epochs: int
    batch_size: int
    seed: int


def _one_epoch(
    model: keras.Model, examples: Examples, progress: Progress, run: _Run, resume: Resume, say: Callable[[str], None]
) -> Progress:
    _reseed(model, run.seed, run.epoch)
    batches = _Batches(examples, run)
    try:
        fitted = model.fit(
            batches,
            initial_epoch=run.epoch,
            epochs=run.epoch + 1,
            shuffle=False,
            verbose=0,
            callbacks=[_Bar(run, len(batches))],
        )
    except Exception as error:
        if batches.failure is not None:
            raise batches.failure from error
        raise
    write_complete_model(model, resume.unfinished)
    facts = {name: float(values[-1]) for name, values in fitted.history.items()}
    done = resume.commit(progress.with_epoch(facts))
    # An epoch that is said to be done is kept, even if the process is killed now.
    if not _has_terminal():
        say(f"epoch {run.epoch + 1}/{run.epochs}: {_text(facts)}")
    return done


def _compile(model: keras.Model, learning_rate: float, steps: int) -> None:
    schedule = keras.optimizers.schedules.CosineDecay(learning_rate, steps)
    compile_classifier(model, keras.optimizers.Adam(schedule, name="adam"))
    model.optimizer.build(model.trainable_variables)


def _reseed(model: keras.Model, seed: int, epoch: int) -> None:
    """Set the state of every random layer from (seed, epoch): a checkpoint in h5 does not hold it."""
    states = [v for v in model.non_trainable_variables if v.path.endswith("seed_generator_state")]
    for place, state in enumerate(states):
        state.assign(np.random.default_rng([seed, epoch, 1 + place]).integers(0, 2**31, size=2).astype("uint32"))


class _Batches(keras.utils.PyDataset):
    """One epoch's batches, in an order drawn from (seed, epoch)."""

    def __init__(self, examples: Examples, run: _Run) -> None:
        super().__init__()
        self._load, self._size = examples.load, run.batch_size
        self._order = np.random.default_rng([run.seed, run.epoch, 0]).permutation(examples.count)
        # What loading raised: TensorFlow's pipeline hands on an error of its own instead, with a traceback as its text.
        self.failure: BaseException | None = None

    def __len__(self) -> int:
        return math.ceil(len(self._order) / self._size)

    def __getitem__(self, i: int) -> tuple[np.ndarray | tuple[np.ndarray, ...], np.ndarray]:
        try:
            inputs, labels = self._load(self._order[i * self._size : (i + 1) * self._size])
        except BaseException as error:
            self.failure = error
            raise
        return inputs[0] if len(inputs) == 1 else tuple(inputs), labels


class _Bar(keras.callbacks.Callback):
    """A bar an epoch on a terminal, nothing elsewhere."""

    def __init__(self, run: _Run, steps: int) -> None:
        super().__init__()
        title = f"epoch {run.epoch + 1}/{run.epochs}"
        self._bar = tqdm(total=steps, desc=title, unit="batch", disable=not _has_terminal())

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self._bar.set_postfix_str(_text(logs or {}), refresh=False)
        self._bar.update()

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        self._bar.close()


@contextmanager
def _deterministic_ops() -> Iterator[None]:
    """Deterministic kernels inside; as before outside, where other graphs hold random ops without a seed."""
    before = tf_config.is_op_determinism_enabled()
    tf.config.experimental.enable_op_determinism()
    try:
        yield
    finally:
        if not before:
            # TensorFlow exports only the switch that turns it on.
            tf_config.disable_op_determinism()


def _has_terminal() -> bool:
    return sys.stderr.isatty()


def _text(facts: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in facts.items())
