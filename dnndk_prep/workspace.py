"""The workspace on disk: one folder a stage, written aside and renamed, with the hashes of all it holds."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dnndk_prep.errors import StageError
from dnndk_prep.file_hashes import UNREADABLE, hash_or_reason, sha256_file, sha256_values, walk
from dnndk_prep.workspace_lock import not_writable, require_no_link, require_text, take

STAGE_JSON = "stage.json"
LOCK = ".lock"
SCRATCH = ".scratch"
LOGS = "logs"
# What somebody put into a stage's folder goes here before the stage writes it anew.
KEPT = "kept"
# stage.json holds under this key the hash of all else in it: its facts are told on by the report.
SEAL = "sha256"


@dataclass(frozen=True)
class StageRecord:
    """What stage.json says of a finished stage: its fingerprint, its artifacts' hashes, its facts."""

    fingerprint: dict[str, Any]
    artifacts: dict[str, dict[str, Any]]
    content: dict[str, Any]

    @property
    def intact(self) -> bool:
        """Whether stage.json is as the stage wrote it."""
        return self.content.get(SEAL) == _seal(self.content)

    def hashes(self) -> dict[str, str]:
        """The hash that each artifact had when the stage was done."""
        return {name: facts["sha256"] for name, facts in self.artifacts.items()}


class Workspace:
    """The folder that all stages share.

    Raises UsageError if it cannot be made or written, or where a link in it leads elsewhere.
    """

    def __init__(self, root: Path, shared: Collection[str] = ()) -> None:
        """shared: the stages into whose folders others write, too; of these only what the stage wrote counts."""
        self.root = root
        self._shared = frozenset(shared)
        # Of the run that holds it: its lock file, and the folder that it writes into.
        self._held: tuple[int, int] | None = None
        self._new = root / ".new"
        # By stage: where others' files were put when its folder was written anew.
        self.kept: dict[str, Path] = {}

    def folder(self, stage: str) -> Path:
        return self.root / stage

    def record(self, stage: str) -> StageRecord | None:
        """The record of the stage's last good run; None if there is none, or it is no record.

        Raises OSError where it is there and the disk does not give it.
        """
        try:
            text = (self.folder(stage) / STAGE_JSON).read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError, UnicodeDecodeError):
            return None
        try:
            content = json.loads(text)
            record = StageRecord(dict(content["fingerprint"]), dict(content["artifacts"]), content)
            record.hashes()
            return record
        except (ValueError, KeyError, TypeError):
            return None

    def contents(self, stage: str) -> dict[str, str]:
        """The hash of each file in the stage's folder but stage.json; UNREADABLE and the reason where there is none."""
        folder, found = self.folder(stage), {}
        record = self.record(stage) if stage in self._shared else None
        try:
            for path in _files(folder):
                if record is not None and path.relative_to(folder).as_posix() not in record.artifacts:
                    continue
                found[path.relative_to(folder).as_posix()] = hash_or_reason(path)
        except OSError as error:
            found[error.filename or "."] = f"{UNREADABLE}{error.strerror}"
        return found

    def damaged(self, stage: str, record: StageRecord, contents: Mapping[str, str] | None = None) -> str | None:
        """The first of the stage's files that is not what the stage wrote, in words; None if all are.

        contents: of the stage, if they are known already.
        """
        contents = self.contents(stage) if contents is None else contents
        if not record.intact:
            return f"{STAGE_JSON} was changed since"
        wanted = record.hashes()
        for name, sha256 in wanted.items():
            if name not in contents:
                return f"{name} is gone"
            if contents[name].startswith(UNREADABLE):
                return f"{name} {contents[name]}"
            if contents[name] != sha256:
                return f"{name} was changed since"
        added = [name for name in contents if name not in wanted]
        return f"{added[0]} was added since" if added else None

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the workspace for one run; a lock of a dead process does not count."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            require_text(self.root)
            for name in (LOCK, SCRATCH, LOGS, KEPT):
                require_no_link(self.root / name)
            handle = (self.root / LOCK).open("a+")
        except OSError as error:
            raise not_writable(self.root, error) from error
        with handle:
            take(handle, self.root, fcntl.LOCK_EX)
            try:
                handle.truncate(0)
                handle.write(str(os.getpid()))
                handle.flush()
                self._recover()
                found = os.fstat(handle.fileno())
            except OSError as error:
                raise not_writable(self.root, error) from error
            self._held = found.st_dev, found.st_ino
            # Two runs never write into one folder, not even where somebody took the lock away from under the first.
            self._new = self.root / f".new-{secrets.token_hex(4)}"
            try:
                yield
            finally:
                self._held = None
                # Who comes next must not be told of this process.
                os.ftruncate(handle.fileno(), 0)

    @contextmanager
    def still(self) -> Iterator[None]:
        """Keep runs off while the workspace is read; one in which nothing has run has nobody to keep off."""
        try:
            handle = (self.root / LOCK).open()
        except FileNotFoundError:
            yield
            return
        with handle:
            take(handle, self.root, fcntl.LOCK_SH)
            yield

    def scratch(self, stage: str) -> Path:
        """A folder that survives an interruption of the stage and goes with its success."""
        folder = self.root / SCRATCH / stage
        require_no_link(folder)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def begin(self, stage: str) -> Path:
        """An empty folder of the stage's name to write its artifacts into, beside the last good one."""
        self.require_hold()
        require_no_link(self.folder(stage))
        shutil.rmtree(self._new, ignore_errors=True)
        folder = self._new / stage
        folder.mkdir(parents=True)
        return folder

    def commit(self, stage: str, fingerprint: dict[str, Any], content: dict[str, Any]) -> StageRecord:
        """Put the written folder in the place of the last good one."""
        new = self._new / stage
        artifacts = {
            path.relative_to(new).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
            for path in _files(new)
        }
        content = {"stage": stage, "fingerprint": fingerprint, "artifacts": artifacts, **content}
        # As it will be read: JSON has no tuples and no keys but text.
        content = json.loads(json.dumps(content))
        content[SEAL] = _seal(content)
        (new / STAGE_JSON).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        _flush(new)
        self.require_hold()
        self._replace(stage, new)
        return StageRecord(content["fingerprint"], artifacts, content)

    def abandon(self, stage: str) -> None:
        """Drop what a failed stage had written; its scratch folder and the last good artifacts stay."""
        shutil.rmtree(self._new / stage, ignore_errors=True)
        with suppress(OSError):
            self._new.rmdir()

    def write(self, name: str, text: str) -> None:
        """Put a file beside the stages' folders, whole or not at all; one that says the same stays as it is."""
        path, new = self.root / name, self._new.with_name(f"{self._new.name}-{name}")
        try:
            if path.read_bytes() == text.encode():
                return
        except OSError:
            pass  # None yet, or one that cannot be read: it is written anew.
        self.require_hold()
        try:
            new.write_text(text, encoding="utf-8")
            _sync(new)
            new.replace(path)
        finally:
            new.unlink(missing_ok=True)

    def require_hold(self) -> None:
        """Raises StageError where the workspace was removed under the run: another run may hold the one there now."""
        try:
            found = (self.root / LOCK).stat()
            if (found.st_dev, found.st_ino) == self._held:
                return
            there = f"another {LOCK} in {self.root}"
        except (FileNotFoundError, NotADirectoryError) as error:
            there = f"{self.root / LOCK}: {error.strerror}"
        raise StageError(
            "the workspace was removed or replaced while this run used it",
            expected=f"the {LOCK} that this run holds",
            found=there,
            remedy="run again; nothing was written over",
        )

    def _replace(self, stage: str, new: Path) -> None:
        final, old = self.folder(stage), self.root / f".old-{stage}"
        if final.exists():
            final.rename(old)
        try:
            new.rename(final)
        except BaseException:
            # Ctrl-C between the two renames, too.
            if old.exists() and not final.exists():
                old.rename(final)
            raise
        # The new name is on the disk before the old folder goes.
        _sync(self.root)
        self._retire(stage, old)
        shutil.rmtree(self.root / SCRATCH / stage, ignore_errors=True)

    def _retire(self, stage: str, old: Path) -> None:
        """Remove a folder that was replaced, but for what the stage had not written there: nobody can make it again."""
        try:
            written = json.loads((old / STAGE_JSON).read_text(encoding="utf-8"))["artifacts"]
            added = [path for path in _files(old) if path.relative_to(old).as_posix() not in written]
        except (OSError, ValueError, KeyError, TypeError):
            added = []
        kept = self.root / KEPT / f"{stage}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
        for path in added:
            place = kept / path.relative_to(old)
            place.parent.mkdir(parents=True, exist_ok=True)
            path.rename(place)
        if added:
            self.kept[stage] = kept
        shutil.rmtree(old, ignore_errors=True)

    def _recover(self) -> None:
        """Mend what a killed run left: half-written folders go, and a folder that was being replaced comes back."""
        for leftover in self.root.glob(".new-*"):
            if leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink()
        for old in self.root.glob(".old-*"):
            final = self.folder(old.name.removeprefix(".old-"))
            if final.exists():
                self._retire(final.name, old)
            else:
                old.rename(final)


def _seal(content: Mapping[str, Any]) -> str:
    rest = {name: value for name, value in content.items() if name != SEAL}
    return sha256_values(rest)


def _files(folder: Path) -> list[Path]:
    """All that lies in a stage's folder and is no folder, in a fixed order, without stage.json. Raises OSError."""
    found = [path for path in walk(folder) if path != folder / STAGE_JSON]
    return sorted(found)


def _flush(folder: Path) -> None:
    """Bytes to the disk before the rename: after a power cut the name must not stand for an empty file."""
    for path in [*folder.rglob("*"), folder]:
        _sync(path)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
