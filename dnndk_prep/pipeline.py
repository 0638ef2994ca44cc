"""The stages in their order, why each one runs, and the run itself."""

from __future__ import annotations

import hashlib
import importlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from dnndk_prep.code_version import code_version
from dnndk_prep.config import Config, ModelSection
from dnndk_prep.errors import DnndkPrepError, StageError, UsageError, nearest
from dnndk_prep.graph.kinds import checkpoint_files, checkpoint_prefix, graph_file
from dnndk_prep.keras_io.custom import module_files
from dnndk_prep.keras_io.load import architecture_beside
from dnndk_prep.keras_io.scan import scan, scan_architecture, scan_weights
from dnndk_prep.quiet import quiet_start
from dnndk_prep.workspace import STAGE_JSON, StageRecord, Workspace, sha256_file, sha256_outside


@dataclass(frozen=True)
class Stage:
    """One stage: its name is also its module, its folder, its YAML section, its CLI word and its script."""

    name: str
    needs: tuple[str, ...] = ()
    # Parts of the configuration; files and folders named there count by content, not by path.
    reads: tuple[str, ...] = ()
    # The facts of the needed stages count too, not their artifacts alone.
    tells_facts: bool = False

    def code(self) -> str:
        """The version of the stage's code."""
        return code_version(f"dnndk_prep.stages.{self.name}")

    def run(self) -> Callable[..., dict[str, Any]]:
        """The stage's function; TensorFlow is imported here and not before."""
        with quiet_start():
            return importlib.import_module(f"dnndk_prep.stages.{self.name}").run


PROOF = ("dataset", "preprocess", "seed")

STAGES: tuple[Stage, ...] = (
    Stage("train_save", (), ("model", "dataset", "preprocess", "seed", "train_save")),
    Stage(
        "keras_2_tf", ("train_save",), ("keras_2_tf", "model.custom_objects", "graph.inputs", "graph.outputs", *PROOF)
    ),
    Stage("freeze_graph", ("keras_2_tf",), ("freeze_graph", "graph.reader", *PROOF)),
    # The proof compares with the reference outputs, which keras_2_tf keeps.
    Stage("optimize_for_inference", ("freeze_graph", "keras_2_tf"), ("graph.reader", *PROOF)),
    Stage("calib_input", ("optimize_for_inference",), ("calibration", "target.bundles", *PROOF)),
    # train_save tells what the user's model is called.
    Stage(
        "export",
        ("train_save", "keras_2_tf", "optimize_for_inference", "calib_input"),
        ("target", "saved_model", "tensorboard", "graph", "keras_2_tf", "model.path", "model.custom_objects"),
    ),
    Stage(
        "report",
        ("train_save", "keras_2_tf", "freeze_graph", "optimize_for_inference", "calib_input", "export"),
        ("target",),
        tells_facts=True,
    ),
)
NAMES = tuple(stage.name for stage in STAGES)


def entry_of(model: ModelSection) -> str | None:
    """The stage that takes a TensorFlow graph in: the one that would have made a file of its kind.

    None where everything begins with train_save: with a Keras model, or without any.
    """
    found = graph_file(model.path) if model.path is not None else None
    if found is None:
        return None
    return "keras_2_tf" if model.checkpoint or found.variables else "freeze_graph"


def entered_at(entry: str | None) -> tuple[Stage, ...]:
    """STAGES with a graph that enters at `entry`: what would have come from a dropped stage comes from there."""
    if entry is None:
        return STAGES
    dropped = NAMES[: NAMES.index(entry)]
    stages = []
    for stage in STAGES:
        needs = tuple(dict.fromkeys(entry if name in dropped else name for name in stage.needs))
        reads = tuple(dict.fromkeys((*stage.reads, "model"))) if stage.name == entry else stage.reads
        stages.append(replace(stage, needs=() if stage.name == entry else needs, reads=reads))
    return tuple(stages)


@dataclass(frozen=True)
class Step:
    """One line of the plan: the stage, whether it runs, and why."""

    stage: Stage
    runs: bool
    why: str


@dataclass(frozen=True)
class Selection:
    """Which stages a command is about, and whether fresh ones run too."""

    first: str | None = None
    last: str | None = None
    only: str | None = None
    force: bool = False

    def stages(self) -> tuple[Stage, ...]:
        """Raises UsageError for a name that is no stage, and for a range that is empty."""
        for name in (self.first, self.last, self.only):
            if name is not None and name not in NAMES:
                near = nearest(name, NAMES)
                raise UsageError(
                    f"there is no stage {name!r}",
                    expected=", ".join(NAMES),
                    found=name,
                    remedy=f"did you mean {near[0]!r}?" if near else "name one of the stages",
                )
        if self.only is not None and (self.first is not None or self.last is not None):
            raise UsageError("--only stands alone", expected="--only STAGE, or --from and --to", remedy="leave one out")
        start = NAMES.index(self.only or self.first or NAMES[0])
        end = NAMES.index(self.only or self.last or NAMES[-1])
        if start > end:
            raise UsageError(f"--from {self.first} comes after --to {self.last}", expected=" -> ".join(NAMES))
        return STAGES[start : end + 1]


class Pipeline:
    """A configuration and its workspace.

    Without `allow_custom_code` a configuration with model.custom_objects does not run: nothing of them is imported.
    """

    def __init__(self, cfg: Config, allow_custom_code: bool = False) -> None:
        self.cfg = cfg
        self._allow_custom_code = allow_custom_code
        self.workspace = Workspace(cfg.workspace)
        self._outside: dict[str, str] = {}
        self._entry = entry_of(cfg.model)
        self._stages = {stage.name: stage for stage in entered_at(self._entry)}

    def plan(self, selection: Selection) -> Iterator[Step]:
        """What a run would do, without doing it: a stage after one that runs may run."""
        running: list[str] = []
        for stage in self._chosen(selection):
            if self._is_dropped(stage):
                yield self._dropped(stage)
                continue
            upstream = [name for name in stage.needs if name in running]
            if selection.force:
                step = Step(stage, True, "--force")
            elif upstream:
                step = Step(stage, True, f"{upstream[0]} runs before it")
            else:
                step = self._step(stage)
            if step.runs:
                running.append(stage.name)
            yield step

    def run(self, selection: Selection, say: Callable[[str], None]) -> Iterator[tuple[Step, float]]:
        """Run what has to run; yields each step after it is done, with its seconds.

        Raises the DnndkPrepError of the stage that failed; what was finished before it stays.
        """
        stages = self._chosen(selection)
        if self.cfg.model.custom_objects and not self._allow_custom_code:
            raise UsageError(
                "model.custom_objects runs code of its own, and this command does not allow that",
                expected="--allow-custom-code, for modules that you trust",
                found=f"model.custom_objects: {', '.join(self.cfg.model.custom_objects)}",
                remedy="run again with --allow-custom-code, or take the key out",
            )
        with self.workspace.lock():
            self._require_before([stage for stage in stages if not self._is_dropped(stage)], say)
            for stage in stages:
                if self._is_dropped(stage):
                    yield self._dropped(stage), 0.0
                    continue
                step = Step(stage, True, "--force") if selection.force else self._step(stage)
                started = time.monotonic()
                if step.runs:
                    if "model" in stage.reads:
                        self._scan_model()
                    say(f"{stage.name}: {step.why}")
                    self._run_stage(stage, say)
                yield step, time.monotonic() - started

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
        model = self.cfg.model
        if self._entry is not None:
            return
        custom = [spec.partition(":")[2] for spec in model.custom_objects]
        if model.path is not None:
            scan(model.path, custom=custom)
        elif model.architecture is not None and model.weights is not None:
            scan_architecture(model.architecture, weights=scan_weights(model.weights), custom=custom)

    def _require_before(self, stages: Sequence[Stage], say: Callable[[str], None]) -> None:
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
                )
            step = self._step(stage)
            if step.runs:
                say(f"{stage.name}: used as it is, though {step.why}")

    def _run_stage(self, stage: Stage, say: Callable[[str], None]) -> StageRecord:
        from dnndk_prep.stages.context import StageContext

        fingerprint = self._fingerprint(stage)
        started = time.monotonic()
        try:
            out = self.workspace.begin(stage.name)
            context = StageContext(
                cfg=self.cfg,
                inputs={name: self.workspace.folder(name) for name in stage.needs},
                out=out,
                scratch=self.workspace.scratch(stage.name),
                say=say,
                key=hashlib.sha256(json.dumps(fingerprint, sort_keys=True, default=str).encode()).hexdigest(),
            )
            facts = stage.run()(context)
            warnings = facts.pop("warnings", [])
            for warning in warnings:
                say(f"{stage.name}: warning: {warning}")
            content = {
                "seconds": round(time.monotonic() - started, 3),
                "facts": facts,
                "warnings": warnings,
                "versions": versions(),
            }
            return self.workspace.commit(stage.name, fingerprint, content)
        except OSError as error:
            raise StageError(
                f"{stage.name} cannot read or write a file",
                expected="a readable file, a writable workspace and room on the disk",
                found=str(error),
                remedy="mend that and run again; the artifacts of the last good run are untouched",
            ) from error
        finally:
            self.workspace.abandon(stage.name)

    def _step(self, stage: Stage) -> Step:
        record, fingerprint = self.workspace.record(stage.name), self._fingerprint(stage)
        if record is None:
            return Step(stage, True, "it has not run yet")
        changed = _difference(record.fingerprint, fingerprint)
        if changed is None:
            changed = self.workspace.damaged(stage.name, record)
        return Step(stage, changed is not None, changed or "nothing changed")

    def _fingerprint(self, stage: Stage) -> dict[str, Any]:
        values, files = _reads(self.cfg, stage.reads)
        files |= _not_named(self.cfg.model, stage.reads)
        return {
            "code": stage.code(),
            "config": values,
            "files": {key: self._hash_outside(key, path) for key, path in files.items()},
            "inputs": {name: self._inputs(name, stage.tells_facts) for name in stage.needs},
            "versions": versions(),
        }

    def _inputs(self, name: str, with_facts: bool) -> dict[str, str]:
        record = self.workspace.record(name)
        if record is None:
            return {}
        hashes = {artifact: facts["sha256"] for artifact, facts in record.artifacts.items()}
        if with_facts:
            hashes[STAGE_JSON] = sha256_file(self.workspace.folder(name) / STAGE_JSON)
        return hashes

    def _hash_outside(self, key: str, path: Path) -> str:
        if key not in self._outside:
            self._outside[key] = sha256_outside(path, key)
        return self._outside[key]


def versions() -> dict[str, str]:
    """The releases that decide what a graph looks like, read without importing them."""
    found = {}
    for name in ("tensorflow", "keras", "tf_keras"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError as error:
            raise DnndkPrepError(f"{name} is not installed", remedy="source run_all.sh") from error
    return found


def _reads(cfg: Config, reads: Sequence[str]) -> tuple[dict[str, Any], dict[str, Path]]:
    """The plain values under the keys in `reads`, and the outside files named there, both by dotted key."""
    values: dict[str, Any] = {}
    files: dict[str, Path] = {}
    for key in reads:
        value: Any = cfg
        for part in key.split("."):
            value = getattr(value, part)
        parts = {key: value}
        if hasattr(value, "model_fields_set"):
            parts = {f"{key}.{name}": getattr(value, name) for name in type(value).model_fields}
        for name, item in parts.items():
            if name == "model.checkpoint":
                continue  # The common beginning of several files: _not_named.
            if isinstance(item, Path):
                files[name] = item
            elif isinstance(item, tuple) and any(isinstance(one, Path) for one in item):
                files |= {f"{name}[{i}]": path for i, path in enumerate(item)}
            else:
                values[name] = list(item) if isinstance(item, tuple) else item
    return values, files


def _not_named(model: ModelSection, reads: Sequence[str]) -> dict[str, Path]:
    """The files that the model's section leads to: the code of its classes, and the JSON beside its weights."""
    files: dict[str, Path] = {}
    if {"model", "model.custom_objects"} & set(reads):
        for spec in model.custom_objects:
            path = module_files(spec, model.folder)
            if path is not None:
                files[f"model.custom_objects: {spec}"] = path
    found = graph_file(model.path) if "model" in reads and model.path is not None else None
    if found is not None:
        prefix = checkpoint_prefix(model.checkpoint) if model.checkpoint else found.variables
        for path in checkpoint_files(prefix) if prefix else []:
            files[f"model.checkpoint: {path.name.removeprefix(prefix.name) if prefix else ''}"] = path
    elif "model" in reads and model.path is not None:
        beside = architecture_beside(model.path)
        if beside is not None:
            files["the architecture beside model.path"] = beside
    return files


def _difference(old: dict[str, Any], new: dict[str, Any]) -> str | None:
    """What changed between two fingerprints, in words; None if nothing did."""
    if old.get("code") != new["code"]:
        return "the stage's code changed"
    words = {"config": "{} changed", "files": "the content of {} changed", "versions": "the version of {} changed"}
    for part, text in words.items():
        if name := _first_difference(old.get(part, {}), new[part]):
            return text.format(name)
    for stage, hashes in new["inputs"].items():
        if name := _first_difference(old.get("inputs", {}).get(stage, {}), hashes):
            return f"{stage}/{name} changed"
    return None


def _first_difference(old: dict[str, Any], new: dict[str, Any]) -> str | None:
    missing = object()
    names = [*new, *(name for name in old if name not in new)]
    return next((name for name in names if old.get(name, missing) != new.get(name, missing)), None)
