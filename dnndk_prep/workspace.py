"""The workspace on disk: one folder a stage, written aside and renamed, with the hashes of all it holds."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from dnndk_prep.errors import ModelFileError, StageError, UsageError

STAGE_JSON = "stage.json"
LOCK = ".lock"
# stage.json holds under this key the hash of all else in it: its facts are told on by the report.
SEAL = "sha256"
# What stands in the place of a hash that cannot be had; no hash begins like this.
UNREADABLE = "cannot be read: "


def sha256_file(path: Path) -> str:
    """The hash of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_outside(path: Path, key: str) -> str:
    """The hash of a user's file, or of a folder's relative names and contents.

    Raises ModelFileError if there is no such file, or it cannot be read; `key` is the YAML key that named it.
    """
    try:
        if not path.is_dir():
            return sha256_file(path)
        total = hashlib.sha256()
        for file in _outside_files(path):
            name = os.fsencode(file.relative_to(path).as_posix())
            total.update(len(name).to_bytes(8) + name + sha256_file(file).encode())
        return total.hexdigest()
    except FileNotFoundError as error:
        raise ModelFileError(
            f"{key}: there is no such file or folder",
            expected="a file or folder that exists",
            found=error.filename or str(path),
            remedy=f"correct {key}; a path in the YAML is relative to the YAML's folder",
            code="K2D-0031",
        ) from error
    except OSError as error:
        raise ModelFileError(
            f"{key}: it cannot be read",
            expected="files that this user may read, on a disk that works",
            found=str(error),
            remedy="correct their rights, or copy them to another place",
            code="K2D-0031",
        ) from error


def state_outside(path: Path) -> str:
    """A hash of what changes when a user's file or folder is written to, without reading it.

    The time of the last change of an inode cannot be set, unlike that of its content. Raises OSError.
    """
    files = _outside_files(path) if path.is_dir() else [path]
    facts = ((str(file), file.stat()) for file in files)
    told = [(name, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns) for name, found in facts]
    return hashlib.sha256(repr(told).encode("utf-8", "surrogateescape")).hexdigest()


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

    Raises UsageError if it cannot be made or written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        # Of the run that holds it: its lock file, and the folder that it writes into.
        self._held: tuple[int, int] | None = None
        self._new = root / ".new"

    def folder(self, stage: str) -> Path:
        return self.root / stage

    def record(self, stage: str) -> StageRecord | None:
        """The record of the stage's last good run; None if there is none that can be read."""
        try:
            content = json.loads((self.folder(stage) / STAGE_JSON).read_text(encoding="utf-8"))
            record = StageRecord(dict(content["fingerprint"]), dict(content["artifacts"]), content)
            record.hashes()
            return record
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def contents(self, stage: str) -> dict[str, str]:
        """The hash of each file in the stage's folder but stage.json; UNREADABLE and the reason where there is none."""
        folder, found = self.folder(stage), {}
        try:
            for path in _files(folder):
                found[path.relative_to(folder).as_posix()] = _hash_or_reason(path)
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
            handle = (self.root / LOCK).open("a+")
        except OSError as error:
            raise self._not_writable(error) from error
        with handle:
            self._take(handle, fcntl.LOCK_EX)
            try:
                handle.truncate(0)
                handle.write(str(os.getpid()))
                handle.flush()
                self._recover()
                found = os.fstat(handle.fileno())
            except OSError as error:
                raise self._not_writable(error) from error
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
            self._take(handle, fcntl.LOCK_SH)
            yield

    def scratch(self, stage: str) -> Path:
        """A folder that survives an interruption of the stage and goes with its success."""
        folder = self.root / ".scratch" / stage
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def begin(self, stage: str) -> Path:
        """An empty folder of the stage's name to write its artifacts into, beside the last good one."""
        self._require_hold()
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
        self._require_hold()
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
        self._require_hold()
        try:
            new.write_text(text, encoding="utf-8")
            _sync(new)
            new.replace(path)
        finally:
            new.unlink(missing_ok=True)

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
        shutil.rmtree(old, ignore_errors=True)
        shutil.rmtree(self.root / ".scratch" / stage, ignore_errors=True)

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
                shutil.rmtree(old, ignore_errors=True)
            else:
                old.rename(final)

    def _take(self, handle: TextIO, how: int) -> None:
        """The system gives a lock back when its process ends, however it ends."""
        try:
            fcntl.flock(handle, how | fcntl.LOCK_NB)
        except BlockingIOError as error:
            handle.seek(0)
            raise UsageError(
                "another run holds this workspace",
                expected="one run a workspace at a time",
                found=f"{_process(handle.read().strip())} in {self.root}",
                remedy="wait for it, or give another workspace with --workspace DIR",
                code="K2D-0029",
            ) from error
        except OSError as error:
            raise self._not_writable(error) from error

    def _not_writable(self, error: OSError) -> UsageError:
        return UsageError(
            "the workspace cannot be written",
            expected="a folder that this user may write, with room on its disk",
            found=f"{self.root}: {error.strerror}",
            remedy="mend that, or give another with --workspace DIR",
        )

    def _require_hold(self) -> None:
        """Raises StageError where the workspace was removed under the run: another run may hold the one there now."""
        try:
            found = (self.root / LOCK).stat()
            if (found.st_dev, found.st_ino) == self._held:
                return
            there = f"another {LOCK} in {self.root}"
        except OSError as error:
            there = f"{self.root / LOCK}: {error.strerror}"
        raise StageError(
            "the workspace was removed or replaced while this run used it",
            expected=f"the {LOCK} that this run holds",
            found=there,
            remedy="run again; nothing was written over",
        )


def _seal(content: Mapping[str, Any]) -> str:
    rest = {name: value for name, value in content.items() if name != SEAL}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _files(folder: Path) -> list[Path]:
    """All that lies in a stage's folder and is no folder, in a fixed order, without stage.json. Raises OSError."""
    found = [path for path in _walk(folder) if path != folder / STAGE_JSON]
    return sorted(found)


def _outside_files(folder: Path) -> list[Path]:
    """A user's files, those behind links among them, in a fixed order. Raises OSError for a folder that is closed."""
    return sorted(path for path in _walk(folder, follow=True) if path.is_file())


def _walk(folder: Path, follow: bool = False, above: frozenset[str] = frozenset()) -> Iterator[Path]:
    """Everything below that is no folder; a link to a folder is one of these unless links are to be followed.

    A link that leads back to a folder above it is not.
    """
    above |= {os.path.realpath(folder)}
    with os.scandir(folder) as entries:
        for entry in entries:
            path = folder / entry.name
            if not entry.is_dir(follow_symlinks=follow):
                yield path
            elif os.path.realpath(path) not in above:
                yield from _walk(path, follow, above)


def _hash_or_reason(path: Path) -> str:
    try:
        # No stage writes a link, and to open a pipe would wait for ever.
        return sha256_file(path) if stat.S_ISREG(path.lstat().st_mode) else f"{UNREADABLE}it is no plain file"
    except OSError as error:
        return f"{UNREADABLE}{error.strerror}"


def _process(number: str) -> str:
    """Who holds the lock: the process that wrote its number, unless that one is gone."""
    try:
        os.kill(int(number), 0)
    except PermissionError:
        pass
    except (ValueError, OverflowError, OSError):
        return "a process that does not tell its number"
    return f"process {number}"


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
