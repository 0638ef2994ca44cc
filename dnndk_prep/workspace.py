"""The workspace on disk: one folder a stage, written aside and renamed, with the hashes of all it holds."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dnndk_prep.errors import ModelFileError, UsageError

STAGE_JSON = "stage.json"


def sha256_file(path: Path) -> str:
    """The hash of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_outside(path: Path, key: str) -> str:
    """The hash of a user's file, or of a folder's relative names and contents.

    Raises ModelFileError if there is no such file; `key` is the YAML key that named it.
    """
    if path.is_file():
        return sha256_file(path)
    if not path.is_dir():
        raise ModelFileError(
            f"{key}: there is no such file or folder",
            expected="a file or folder that exists",
            found=str(path),
            remedy=f"correct {key}; a path in the YAML is relative to the YAML's folder",
            code="K2D-0031",
        )
    total = hashlib.sha256()
    for file in sorted(item for item in path.rglob("*") if item.is_file()):
        name = os.fsencode(file.relative_to(path).as_posix())
        total.update(len(name).to_bytes(8) + name + sha256_file(file).encode())
    return total.hexdigest()


@dataclass(frozen=True)
class StageRecord:
    """What stage.json says of a finished stage: its fingerprint, its artifacts' hashes, its facts."""

    fingerprint: dict[str, Any]
    artifacts: dict[str, dict[str, Any]]
    content: dict[str, Any]


class Workspace:
    """The folder that all stages share.

    Raises UsageError if it cannot be made or written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, stage: str) -> Path:
        return self.root / stage

    def record(self, stage: str) -> StageRecord | None:
        """The record of the stage's last good run; None if there is none that can be read."""
        try:
            content = json.loads((self.folder(stage) / STAGE_JSON).read_text(encoding="utf-8"))
            return StageRecord(content["fingerprint"], content["artifacts"], content)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def damaged(self, stage: str, record: StageRecord) -> str | None:
        """The first artifact that is not what the stage wrote, in words; None if all are."""
        present = _artifacts(self.folder(stage))
        for name, facts in record.artifacts.items():
            if name not in present:
                return f"{name} is gone"
            if present[name]["sha256"] != facts["sha256"]:
                return f"{name} was changed since"
        added = [name for name in present if name not in record.artifacts]
        return f"{added[0]} was added since" if added else None

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the workspace for one run; a lock of a dead process does not count."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            handle = (self.root / ".lock").open("a+")
        except OSError as error:
            raise UsageError(
                "the workspace cannot be written",
                expected="a folder that this user may write",
                found=f"{self.root}: {error.strerror}",
                remedy="give another with --workspace DIR",
            ) from error
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                handle.seek(0)
                raise UsageError(
                    "another run holds this workspace",
                    expected="one run a workspace at a time",
                    found=f"process {handle.read().strip() or 'unknown'} in {self.root}",
                    remedy="wait for it, or give another workspace with --workspace DIR",
                    code="K2D-0029",
                ) from error
            handle.truncate(0)
            handle.write(str(os.getpid()))
            handle.flush()
            self._recover()
            yield

    def scratch(self, stage: str) -> Path:
        """A folder that survives an interruption of the stage and goes with its success."""
        folder = self.root / ".scratch" / stage
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def begin(self, stage: str) -> Path:
        """An empty folder to write the stage's artifacts into, beside the last good one."""
        folder = self.root / f".new-{stage}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def commit(self, stage: str, fingerprint: dict[str, Any], content: dict[str, Any]) -> StageRecord:
        """Put the written folder in the place of the last good one."""
        new, final, old = self.root / f".new-{stage}", self.folder(stage), self.root / f".old-{stage}"
        artifacts = _artifacts(new)
        content = {"stage": stage, "fingerprint": fingerprint, "artifacts": artifacts, **content}
        (new / STAGE_JSON).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        _flush(new)
        if final.exists():
            final.rename(old)
        new.rename(final)
        shutil.rmtree(old, ignore_errors=True)
        shutil.rmtree(self.root / ".scratch" / stage, ignore_errors=True)
        return StageRecord(fingerprint, artifacts, content)

    def abandon(self, stage: str) -> None:
        """Drop what a failed stage had written; its scratch folder and the last good artifacts stay."""
        shutil.rmtree(self.root / f".new-{stage}", ignore_errors=True)

    def _recover(self) -> None:
        """Mend what a killed run left: half-written folders go, and a folder that was being replaced comes back."""
        for leftover in self.root.glob(".new-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        for old in self.root.glob(".old-*"):
            final = self.folder(old.name.removeprefix(".old-"))
            if final.exists():
                shutil.rmtree(old, ignore_errors=True)
            else:
                old.rename(final)


def _artifacts(folder: Path) -> dict[str, dict[str, Any]]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
        for path in files
        if path != folder / STAGE_JSON
    }


def _flush(folder: Path) -> None:
    """Bytes to the disk before the rename: after a power cut the name must not stand for an empty file."""
    for path in [*folder.rglob("*"), folder]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
