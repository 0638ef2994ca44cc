"""Why each stage runs, and the run itself."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dnndk_prep import disk_errors, run_lock
from dnndk_prep.config import Config
from dnndk_prep.errors import StageError, UsageError
from dnndk_prep.events import Event, Tell
from dnndk_prep.fingerprint import difference, versions
from dnndk_prep.keras_defaults import keras_defaults
from dnndk_prep.made_of import MadeOf
from dnndk_prep.run_lock import Made
from dnndk_prep.stage_list import NAMES, Selection, Stage, entered_at, entry_of
from dnndk_prep.workspace import (
    STAGE_JSON,
    StageRecord,
    Workspace,
)


@dataclass(frozen=True)
class Step:
    """One line of the plan: the stage, whether it runs, and why."""

    stage: Stage
    runs: bool
    why: str


class Pipeline:
    """A configuration and its workspace.

    Without `allow_custom_code` a configuration with model.custom_objects does not run: nothing of them is imported.
    """

    def __init__(self, cfg: Config, allow_custom_code: bool = False) -> None:
        self.cfg = cfg
        self._allow_custom_code = allow_custom_code
        self._entry = entry_of(cfg.model)
        self._stages = {stage.name: stage for stage in entered_at(self._entry)}
        self.workspace = Workspace(cfg.workspace, [name for name, stage in self._stages.items() if stage.is_shared])
        self._made_of = MadeOf(cfg, self.workspace)

    def plan(self, selection: Selection) -> Iterator[Step]:
        """What a run would do, without doing it: a stage after one that runs may run."""
        self._made_of.forget()
        running: list[str] = []
        for stage in self._chosen(selection):
            with disk_errors.told("the plan"):
                step = self._planned(stage, selection.force, running)
            if step.runs:
                running.append(stage.name)
            yield step

    def _planned(self, stage: Stage, force: bool, running: Sequence[str]) -> Step:
        if self._is_dropped(stage):
            return self._dropped(stage)
        upstream = [name for name in stage.needs if name in running]
        if force:
            return Step(stage, True, "--force")
        return Step(stage, True, f"{upstream[0]} runs before it") if upstream else self._step(stage)

    def last_seconds(self, selection: Selection) -> dict[str, float | None]:
        """How long the chosen stages ran the last time; None for those that never ran."""
        with disk_errors.told("the run"):
            records = {stage.name: self.workspace.record(stage.name) for stage in self._chosen(selection)}
        seconds = {name: _seconds(record) for name, record in records.items()}
        if self.cfg.model.given and seconds.get("train_save", 0) is None:
            # What takes long elsewhere, training, is a copy here.
            seconds["train_save"] = 1.0
        return seconds

    def run(
        self, selection: Selection, tell: Tell, log: AbstractContextManager[object] | None = None
    ) -> Iterator[tuple[Step, float]]:
        """Run what has to run; yields each step after it is done, with its seconds.

        `log` is entered when the workspace is this run's alone. Raises the DnndkPrepError of the stage that failed;
        what was finished before it stays.
        """
        stages = self._chosen(selection)
        if self.cfg.model.custom_objects and not self._allow_custom_code:
            raise UsageError(
                "model.custom_objects runs code of its own, and this command does not allow that",
                expected="--allow-custom-code, for modules that you trust",
                found=f"model.custom_objects: {', '.join(self.cfg.model.custom_objects)}",
                remedy="run again with --allow-custom-code, or take the key out",
                code="K2D-0025",
            )
        with disk_errors.told("the run"), self.workspace.lock(), log or nullcontext():
            self._made_of.forget()
            tell(Event("begin"))
            self._require_before([stage for stage in stages if not self._is_dropped(stage)], tell)
            for stage in stages:
                yield self._run_or_skip(stage, selection.force, tell)
            # Where nothing ran, too: the file may be gone, or of a run that was killed.
            self.workspace.write(run_lock.FILE, run_lock.as_text(self._as_recorded()))
            tell(Event("end", text=str(self.workspace.root)))

    def verify(self, lock_file: Path | None = None) -> tuple[int, list[str]]:
        """How many artifacts are locked, and what is not as run.lock.yaml says: of the workspace or of `lock_file`.

        Raises UsageError where there is no such file, or a run holds the workspace.
        """
        with disk_errors.told("verify-lock"), self.workspace.still():
            self._made_of.forget()
            locked = run_lock.read(lock_file or self.workspace.root / run_lock.FILE)
            found = run_lock.described(
                {name: self._made_now(name) for name in locked["stages"] if name in self._stages}
            )
            artifacts = [made.get("artifacts", {}) for made in locked["stages"].values() if isinstance(made, dict)]
            return sum(map(len, artifacts)), list(run_lock.differences(locked, json.loads(json.dumps(found))))

    def _run_or_skip(self, stage: Stage, force: bool, tell: Tell) -> tuple[Step, float]:
        if self._is_dropped(stage):
            step = self._dropped(stage)
        else:
            step = Step(stage, True, "--force") if force else self._step(stage)
        started = time.monotonic()
        if step.runs:
            tell(Event("start", stage.name, step.why))
            self._run_stage(stage, tell)
            if stage.name in self.workspace.kept:
                text = f"what others had put into its folder is kept: {self.workspace.kept[stage.name]}"
                tell(Event("message", stage.name, text))
            self.workspace.write(run_lock.FILE, run_lock.as_text(self._as_recorded()))
        seconds = time.monotonic() - started
        tell(Event("done", stage.name, "", seconds) if step.runs else Event("skip", stage.name, step.why))
        return step, seconds

    def _as_recorded(self) -> dict[str, Any]:
        """What run.lock.yaml holds of the stages that are finished."""
        made = {}
        for stage in self._stages.values():
            record = None if self._is_dropped(stage) else self.workspace.record(stage.name)
            if record is not None:
                made[stage.name] = Made(record.fingerprint, _locked(stage, record.hashes()))
        return run_lock.described(made)

    def _made_now(self, name: str) -> Made:
        """A stage as it would be recorded with today's code, settings and files, and what lies in its folder."""
        stage, record, contents = self._stages[name], self.workspace.record(name), self._made_of.content(name)
        if record is not None and stage.tells_facts and self.workspace.damaged(name, record, contents) is None:
            return Made(self._made_of.fingerprint(stage), _locked(stage, contents))
        return Made(self._made_of.fingerprint(stage), contents)

    def _chosen(self, selection: Selection) -> list[Stage]:
        """The stages of the selection. Raises UsageError where a graph that enters later drops all of them."""
        stages = [self._stages[stage.name] for stage in selection.stages()]
        if all(map(self._is_dropped, stages)):
            raise UsageError(
                f"{stages[-1].name} is not part of this run: {self._dropped(stages[-1]).why}",
                expected=f"{self._entry} or a later stage",
                found=stages[-1].name,
                remedy=f"begin with --from {self._entry}",
            )
        return stages

    def _is_dropped(self, stage: Stage) -> bool:
        return self._entry is not None and NAMES.index(stage.name) < NAMES.index(self._entry)

    def _dropped(self, stage: Stage) -> Step:
        path = self.cfg.model.path
        return Step(stage, False, f"left out: {path.name if path else ''} enters at {self._entry}")

    def _scan_model(self) -> None:
        """Look at the user's files before a stage imports TensorFlow: a file that is refused is refused at once.

        A graph is looked at by the stage that takes it in, since it cannot be read without TensorFlow.
        """
        # A plan looks at no file and must not wait for what reads them.
        from dnndk_prep.keras_io.scan import scan, scan_architecture, scan_weights

        model = self.cfg.model
        if self._entry is not None:
            return
        custom = [spec.partition(":")[2] for spec in model.custom_objects]
        if model.path is not None:
            scan(model.path, custom=custom)
        elif model.architecture is not None and model.weights is not None:
            scan_architecture(model.architecture, weights=scan_weights(model.weights), custom=custom)

    def _require_before(self, stages: Sequence[Stage], tell: Tell) -> None:
        """A run that begins in the middle uses earlier folders as they are, and says where they are out of date."""
        chosen = {stage.name for stage in stages}
        for stage in self._stages.values():
            if stage.name in chosen or not any(stage.name in later.needs for later in stages):
                continue
            if self.workspace.record(stage.name) is None:
                raise StageError(
                    f"{stages[0].name} needs the artifacts of {stage.name}, which has not run",
                    expected=f"{stage.name}/{STAGE_JSON} in the workspace",
                    found=f"none in {self.workspace.root}",
                    remedy=f"run with --from {stage.name}, or without --from and --only",
                    code="K2D-0030",
                )
            step = self._step(stage)
            if step.runs:
                tell(Event("message", stage.name, f"used as it is, though {step.why}"))

    def _run_stage(self, stage: Stage, tell: Tell) -> StageRecord:
        from dnndk_prep.stages.context import StageContext

        with disk_errors.told(stage.name):
            if "model" in stage.reads:
                self._scan_model()
            fingerprint = self._made_of.fingerprint(stage)
            started = time.monotonic()
            try:
                out = self.workspace.begin(stage.name)
                context = StageContext(
                    cfg=self.cfg,
                    inputs={name: self.workspace.folder(name) for name in stage.needs},
                    out=out,
                    scratch=self.workspace.scratch(stage.name),
                    # Stages begin their lines with their name.
                    say=lambda text: tell(Event("message", stage.name, text.removeprefix(f"{stage.name}: "))),
                    key=hashlib.sha256(json.dumps(fingerprint, sort_keys=True, default=str).encode()).hexdigest(),
                )
                function = stage.run()
                with keras_defaults():
                    facts = function(context)
                self._made_of.require_still(stage)
                warnings = facts.pop("warnings", [])
                for warning in warnings:
                    tell(Event("warning", stage.name, warning))
                content = {
                    "seconds": round(time.monotonic() - started, 3),
                    "facts": facts,
                    "warnings": warnings,
                    "versions": versions(),
                }
                record = self.workspace.commit(stage.name, fingerprint, content)
                self._made_of.written(stage.name, record.hashes())
                return record
            except Exception:
                # What a stage says when its folder is gone does not tell why.
                self.workspace.require_hold()
                raise
            finally:
                self.workspace.abandon(stage.name)

    def _step(self, stage: Stage) -> Step:
        record, fingerprint = self.workspace.record(stage.name), self._made_of.fingerprint(stage)
        if record is None:
            there = self.workspace.folder(stage.name).exists()
            return Step(stage, True, f"{STAGE_JSON} is gone or was changed" if there else "it has not run yet")
        changed = difference(record.fingerprint, fingerprint) if record.intact else f"{STAGE_JSON} was changed since"
        if changed is None:
            changed = self.workspace.damaged(stage.name, record, self._made_of.content(stage.name))
        return Step(stage, changed is not None, changed or "nothing changed")


def _seconds(record: StageRecord | None) -> float | None:
    found = record.content.get("seconds") if record is not None else None
    return found if isinstance(found, (int, float)) else None


def _locked(stage: Stage, hashes: dict[str, str]) -> dict[str, str]:
    """The hashes for run.lock.yaml: what tells facts of other stages tells their times."""
    return dict.fromkeys(hashes, run_lock.TIMED) if stage.tells_facts else hashes
