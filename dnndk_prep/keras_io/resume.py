"""The checkpoint of an unfinished training: known by its hash and by what it was trained with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import keras

from dnndk_prep.file_hashes import sha256_file, sha256_values

FACTS = "resume.json"


@dataclass(frozen=True)
class Progress:
    """How many epochs are done, and each metric's value after each of them."""

    epochs_done: int = 0
    history: dict[str, list[float]] = field(default_factory=dict)

    def with_epoch(self, facts: Mapping[str, float]) -> Progress:
        history = {name: [*self.history.get(name, []), value] for name, value in facts.items()}
        return Progress(self.epochs_done + 1, history)


def training_key(settings: list[Any]) -> str:
    """A hash of everything that decides a training, the versions of Keras included."""
    return hashlib.sha256(json.dumps([keras.__version__, *settings]).encode()).hexdigest()


class Resume:
    """Checkpoints in `folder`: a file an epoch, and resume.json which names the valid one.

    Both are renamed into place, the checkpoint first: killed at any point, resume.json tells of a whole checkpoint.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self._folder, self._key = folder, key
        folder.mkdir(parents=True, exist_ok=True)
        self.unfinished = folder / "unfinished.h5"

    def restore(self, model: keras.Model, say: Callable[[str], None]) -> Progress:
        """Load the last epoch's weights and optimizer state into the compiled `model`; say why if it is not used."""
        if not (self._folder / FACTS).exists():
            return Progress()
        facts, reason = self._valid_facts()
        if facts is None:
            say(f"the checkpoint of an earlier training is not used: {reason}; training starts anew")
            return Progress()
        _load_checkpoint(model, self._folder / facts["checkpoint"])
        say(f"training goes on after epoch {facts['epoch']} from its checkpoint")
        return Progress(facts["epoch"], facts["history"])

    def commit(self, progress: Progress) -> Progress:
        """Make the file `unfinished` the checkpoint of `progress`."""
        checkpoint = self._folder / f"keras_chkpt_{progress.epochs_done:04d}.h5"
        facts = {
            "key": self._key,
            "epoch": progress.epochs_done,
            "checkpoint": checkpoint.name,
            "sha256": sha256_file(self.unfinished),
            "history": progress.history,
        }
        facts["seal"] = sha256_values(facts)
        self.unfinished.replace(checkpoint)
        pending = self._folder / f"{FACTS}.new"
        pending.write_text(json.dumps(facts, indent=2) + "\n")
        pending.replace(self._folder / FACTS)
        for old in self._folder.glob("keras_chkpt_*.h5"):
            if old != checkpoint:
                old.unlink()
        return progress

    def _valid_facts(self) -> tuple[dict[str, Any] | None, str]:
        try:
            facts = json.loads((self._folder / FACTS).read_text())
            checkpoint = self._folder / Path(facts["checkpoint"]).name
            actual = sha256_file(checkpoint)
        except (OSError, ValueError, KeyError, TypeError) as error:
            return None, f"it cannot be read ({error})"
        if facts.pop("seal", None) != sha256_values(facts):
            return None, f"{FACTS} was changed after it was written"
        if facts["key"] != self._key:
            return None, "it was trained with other data, settings or versions"
        if facts["sha256"] != actual:
            return None, f"{checkpoint.name} was changed after it was written"
        return facts, ""


def _load_checkpoint(model: keras.Model, path: Path) -> None:
    """Weights and optimizer state of a complete h5; Keras' own load_model restores the step count alone (3.15)."""
    model.load_weights(path)
    with h5py.File(path, "r") as file:
        group = file["optimizer_weights"]
        for variable in model.optimizer.variables:
            variable.assign(group[variable.path][()])
