"""What the Python API works with: a temporary workspace a step, files of live models, folders for the user."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dnndk_prep.config import Config
from dnndk_prep.errors import ModelFileError, UsageError
from dnndk_prep.events import Event
from dnndk_prep.pipeline import Pipeline
from dnndk_prep.stage_list import NAMES, Selection, entry_of
from dnndk_prep.workspace import Workspace

PathLike = str | os.PathLike[str]
Settings = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Work:
    """A workspace in which the stages up to one have run, and what they ran with."""

    kept: tempfile.TemporaryDirectory[str]
    root: Path
    settings: Settings
    say: Callable[[str], None] | None

    def config(self) -> Config:
        """Raises UsageError that lists every setting which cannot be."""
        try:
            return Config.model_validate({**self.settings, "workspace": self.root}, context={"base": Path.cwd()})
        except ValidationError as error:
            lines = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
            raise UsageError("\n  ".join(["settings that cannot be", *lines]), code="K2D-0026") from error

    def after(self, first: str, last: str, **settings: Mapping[str, Any]) -> Work:
        """A workspace of its own with the stages from `first` to `last` run by these settings, beside those before."""
        merged = {**self.settings, **{name: {**self.settings.get(name, {}), **new} for name, new in settings.items()}}
        root = Path(tempfile.mkdtemp(dir=self.kept.name))
        work = replace(self, root=root, settings=merged)
        cfg = work.config()
        for name in NAMES[: NAMES.index(first)]:
            if (self.root / name).is_dir():
                # No stage writes into a folder that is finished, so the files can be shared.
                shutil.copytree(self.root / name, root / name, copy_function=os.link)
        entry = entry_of(cfg.model)
        if entry is None or NAMES.index(entry) <= NAMES.index(last):
            for _ in Pipeline(cfg, allow_custom_code=True).run(Selection(first, last), self._tell):
                pass
        return work

    def facts(self, stage: str) -> dict[str, Any]:
        record = Workspace(self.root).record(stage)
        return {} if record is None else {**record.content["facts"], "warnings": record.content["warnings"]}

    def _tell(self, event: Event) -> None:
        if self.say is not None and event.kind in ("message", "warning"):
            self.say(event.line())


def saved(model: Any, folder: Path) -> Path:
    """The file of a live model."""
    packages = {base.__module__.partition(".")[0] for base in type(model).__mro__ if base.__name__ == "Model"}
    if not packages & {"keras", "tf_keras"}:
        raise UsageError(
            "open_model takes the path of a model, or a Keras model",
            expected="a path, a keras.Model or a tf_keras.Model",
            found=type(model).__name__,
        )
    stem = re.sub(r"\W+", "_", str(model.name)).strip("_") or "model"
    path = folder / f"{stem}.keras"
    try:
        model.save(path)
    except (ValueError, NotImplementedError, TypeError) as error:
        raise ModelFileError(
            f"Keras cannot save the model {stem}",
            expected="a built model that Keras can write",
            found=str(error).splitlines()[0],
            remedy="call the model once, or build it as a functional model",
        ) from error
    return path


def copied(source: Path, folder: PathLike) -> Path:
    """The files of a step in a folder of the user's. Raises UsageError where that holds anything."""
    target = Path(folder)
    refuse_full(target)
    return Path(shutil.copytree(source, target, dirs_exist_ok=True))


def refuse_full(folder: Path) -> None:
    """Raises UsageError for a folder that is there and not empty."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(
            f"{folder} is there already, and is not empty",
            expected="a new or empty folder",
            found=str(folder),
            remedy="name another, or take it away",
            code="K2D-0032",
        )
