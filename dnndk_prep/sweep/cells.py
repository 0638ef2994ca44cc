"""The cells of a sweep: one for each model, target and quantizer setting, each a checked configuration of its own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dnndk_prep.config import Config
from dnndk_prep.config_file import load_config
from dnndk_prep.config_values import Section
from dnndk_prep.errors import UsageError
from dnndk_prep.sweep.settings import SweepFile

CELLS = "cells"


@dataclass(frozen=True)
class Cell:
    """One run of the pipeline: pipeline.yaml with `overrides`, the words of `--set`, in a workspace of its own."""

    model: str
    target: str
    quantize: str
    pipeline: Path
    overrides: tuple[str, ...]
    workspace: Path

    @property
    def name(self) -> str:
        return f"{self.model}/{self.target}/{self.quantize}"

    def config(self) -> Config:
        """Raises UsageError for keys that do not go together, with file and place."""
        cfg = load_config(self.pipeline, self.overrides)
        return cfg.model_copy(update={"workspace": self.workspace})


def cells(sweep: SweepFile) -> dict[Cell, Config]:
    """All cells in the order of the file, the settings of the quantizer fastest.

    Raises UsageError that lists what is wrong with any of them.
    """
    found: dict[Cell, Config] = {}
    wrong: dict[str, list[str]] = {}
    for cell in _all(sweep):
        try:
            found[cell] = cell.config()
        except UsageError as error:
            wrong.setdefault(str(error), []).append(cell.name)
    if wrong:
        lines = [f"{_some(names)}: {text}" for text, names in wrong.items()]
        raise UsageError("\n".join(["cells that cannot run", *lines]), code="K2D-0026")
    return found


def _all(sweep: SweepFile) -> Iterator[Cell]:
    # What a cell's process is told has to hold wherever that process starts.
    pipeline, root = sweep.pipeline.absolute(), sweep.folder.absolute()
    axes = itertools.product(sweep.models.items(), sweep.targets.items(), sweep.quantize.items())
    for (model, of_model), (target, of_target), (quantize, of_quantize) in axes:
        given = {**_given(of_model), "target": _given(of_target), "quantize": _given(of_quantize)}
        yield Cell(model, target, quantize, pipeline, tuple(_words(given)), root / CELLS / model / target / quantize)


def _given(entry: Section) -> dict[str, Any]:
    """What the file says, without what it leaves to the defaults; paths are those of this machine."""
    return {name: _plain(getattr(entry, name)) for name in type(entry).model_fields if name in entry.model_fields_set}


def _plain(value: Any) -> Any:
    if isinstance(value, Section):
        return _given(value)
    if isinstance(value, Path):
        return str(value.absolute())
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return {name: _plain(item) for name, item in value.items()} if isinstance(value, dict) else value


def _words(given: Mapping[str, Any]) -> Iterator[str]:
    """The words of `--set`: a section's keys one by one, so that those of pipeline.yaml beside them stay."""
    for name, value in given.items():
        if name in Config.model_fields and hasattr(Config.model_fields[name].annotation, "model_fields"):
            yield from (f"{name}.{inner}={_yaml(item)}" for inner, item in value.items())
        else:
            yield f"{name}={_yaml(value)}"


def _yaml(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**9)
    # A value that stands alone ends with a line of its own.
    return text.removesuffix("...\n").strip()


def _some(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
