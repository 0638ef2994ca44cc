"""A pipeline that takes seconds, through all stages from training on, and what its runs leave."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from dnndk_prep import stage_list
from dnndk_prep.workspace import Workspace

# Of the pipeline itself: three_stages.py puts others in their place in processes of its own.
NAMES = tuple(stage.name for stage in stage_list.STAGES)

YAML = """\
dataset: {name: npz, path: data.npz}
preprocess: {channels: gray, scale: 0.004}
train_save: {epochs: 2, batch_size: 20}
calibration: {count: 4, batch_size: 2}
target: {toolchain: vitis-ai-2.5}
"""


def write_home(folder: Path, yaml: str = YAML, seed: int = 0) -> Path:
    """A folder with pipeline.yaml and its data; the YAML."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    arrays = {}
    for part, count in (("train", 40), ("test", 10)):
        arrays[f"x_{part}"] = random.integers(0, 256, (count, 8, 8, 1), np.uint8)
        arrays[f"y_{part}"] = np.arange(count) % 2
    np.savez(folder / "data.npz", **arrays)
    (folder / "pipeline.yaml").write_text(yaml)
    return folder / "pipeline.yaml"


def artifacts(workspace: Path) -> dict[str, str]:
    """The hash of each file in the stages' folders: stage.json and report.json without times.

    Of report.html and report.md, which are report.json for people, only that they are there. A folder that was set
    aside to be replaced counts where nothing took its place: the next run brings it back.
    """
    found = {}
    for path in sorted(workspace.rglob("*")):
        name = path.relative_to(workspace).as_posix()
        if name.startswith(".old-") and not (workspace / name.removeprefix(".old-").split("/")[0]).exists():
            name = name.removeprefix(".old-")
        if path.is_file() and not name.startswith((".", "logs/")):
            found[name] = hashlib.sha256(_without_times(path, name)).hexdigest()
    return found


def differing(found: dict[str, str], wanted: dict[str, str]) -> list[str]:
    """The names under which two workspaces hold different things."""
    return sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))


def broken(workspace: Path) -> list[str]:
    """Stages whose folder stands there under its name and is not whole."""
    kept, found = Workspace(workspace), []
    for name in (name for name in NAMES if (workspace / name).exists()):
        record = kept.record(name)
        found += [name] if record is None or kept.damaged(name, record) else []
    return found


def leftovers(workspace: Path) -> list[str]:
    """What stands in the workspace and belongs to no finished run."""
    kept = {*NAMES, "logs", ".lock", ".scratch", "run.lock.yaml"}
    return sorted(path.name for path in workspace.iterdir() if path.name not in kept)


def _without_times(path: Path, name: str) -> bytes:
    content = path.read_bytes()
    if name in ("report/report.html", "report/report.md"):
        return b""
    if name == "report/report.json":
        return json.dumps(_timeless(json.loads(content)), sort_keys=True).encode()
    if path.name == "stage.json":
        record = json.loads(content)
        for key in ("seconds", "sha256"):
            record.pop(key, None)
        for hashes in record["fingerprint"]["inputs"].values():
            hashes.pop("stage.json", None)
        if name.startswith("report/"):
            record["artifacts"] = list(record["artifacts"])
        return json.dumps(record, sort_keys=True).encode()
    return content


def _timeless(value: object) -> object:
    if isinstance(value, dict):
        return {key: _timeless(one) for key, one in value.items() if key != "seconds"}
    return [_timeless(one) for one in value] if isinstance(value, list) else value
