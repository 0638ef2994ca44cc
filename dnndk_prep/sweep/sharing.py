"""What cells have in common is run once: which stages one cell takes from another, and the order that needs."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dnndk_prep.config import Config
from dnndk_prep.fingerprint import values_and_files
from dnndk_prep.pipeline import Pipeline
from dnndk_prep.stage_list import NAMES, Selection, entered_at, entry_of
from dnndk_prep.sweep.cells import Cell
from dnndk_prep.workspace import Workspace

# Of a stage that differs, these keep no other cell waiting: they take a fraction of a second.
SHORT = ("dpu_check", "calib_input")


@dataclass(frozen=True)
class Part:
    """A run of one cell up to the stage `last`, or to its end (None).

    needs: the parts that have ended before it begins. source: the cell whose stages `taken` are copied, not run.
    """

    cell: Cell
    last: str | None
    needs: tuple[tuple[Cell, str | None], ...] = ()
    source: Cell | None = None
    taken: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[Cell, str | None]:
        return self.cell, self.last


def parts(cells: Mapping[Cell, Config]) -> list[Part]:
    """The cells, cut where another one waits for what they share; each part stands behind all that it needs."""
    order, keys = list(cells), [stage_keys(cfg) for cfg in cells.values()]
    sources = [_source(number, keys) for number in range(len(order))]
    stops: list[set[str | None]] = [{None} for _ in order]
    for found in sources:
        if found is not None:
            stops[found[0]].add(_stop(found[1]))
    made: list[Part] = []
    for cell, found, ends in zip(order, sources, stops, strict=True):
        source, taken = (order[found[0]], found[1]) if found else (None, ())
        before = ((source, _stop(taken)),) if source else ()
        for last in sorted(ends, key=lambda name: len(NAMES) if name is None else NAMES.index(name)):
            made.append(Part(cell, last, before, source, taken))
            before = ((cell, last),)
    return made


def stage_keys(cfg: Config) -> dict[str, str]:
    """Of each stage a hash of all that the YAML says about its result: equal ones make the same artifacts.

    Not a fingerprint, which knows the content of the files, too: it tells before anything has run what can be shared.
    """
    entry = entry_of(cfg.model)
    keys: dict[str, str] = {}
    for stage in entered_at(entry)[NAMES.index(entry) if entry else 0 :]:
        values, files = values_and_files(cfg, stage.reads)
        told = [values, {key: str(path) for key, path in files.items()}, [keys[name] for name in stage.needs]]
        keys[stage.name] = hashlib.sha256(json.dumps([stage.name, told], default=str).encode()).hexdigest()
    return keys


def take(pipeline: Pipeline, source: Path, stages: Sequence[str]) -> list[str]:
    """Copy those of `stages` that would run from the workspace `source`, as far as they are whole there; their names.

    The pipeline's own fingerprints decide afterwards whether what was copied fits.
    """
    running = {step.stage.name for step in pipeline.plan(Selection()) if step.runs}
    there, here, copied = Workspace(source), pipeline.workspace, []
    if not running.intersection(stages):
        return []
    with here.lock():
        for stage in stages:
            record = there.record(stage)
            if stage not in running or record is None:
                continue
            if there.damaged(stage, record) is not None:
                continue
            try:
                shutil.copytree(there.folder(stage), here.begin(stage), dirs_exist_ok=True)
                here.commit(stage, record.fingerprint, record.content)
            finally:
                here.abandon(stage)
            copied.append(stage)
    return copied


def _source(number: int, keys: Sequence[Mapping[str, str]]) -> tuple[int, tuple[str, ...]] | None:
    """The first of the cells before `number` that shares most of its stages, and these; None if none shares any."""
    shared = [_shared(keys[number], keys[before]) for before in range(number)]
    best = max(range(number), key=lambda before: len(shared[before]), default=None)
    return None if best is None or not shared[best] else (best, shared[best])


def _shared(own: Mapping[str, str], other: Mapping[str, str]) -> tuple[str, ...]:
    """The stages that are worth waiting for: none behind one that takes long and is not shared."""
    found = []
    for name, key in own.items():
        if other.get(name) == key:
            found.append(name)
        elif name not in SHORT:
            break
    return tuple(found)


def _stop(stages: Sequence[str]) -> str | None:
    """Where the source has all of `stages`."""
    return None if stages[-1] == NAMES[-1] else stages[-1]
