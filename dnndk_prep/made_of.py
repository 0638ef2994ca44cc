"""What a stage would be made of now: settings, users' files, code, and what lies in the folders before it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dnndk_prep.config import Config
from dnndk_prep.errors import ModelFileError, StageError
from dnndk_prep.file_hashes import UNREADABLE, sha256_file, sha256_outside, state_outside
from dnndk_prep.fingerprint import values_and_files, versions
from dnndk_prep.stage_list import Stage
from dnndk_prep.workspace import STAGE_JSON, Workspace


class MadeOf:
    """The fingerprints of a configuration's stages; each file is read once, until `forget`."""

    def __init__(self, cfg: Config, workspace: Workspace) -> None:
        self._cfg, self._workspace = cfg, workspace
        # By key: the hash of a user's file, and the file's state before it was read.
        self._outside: dict[str, tuple[str, str]] = {}
        # By stage: what lies in its folder.
        self._contents: dict[str, dict[str, str]] = {}

    def forget(self) -> None:
        """What was read for an earlier run counts for that one alone."""
        self._outside.clear()
        self._contents.clear()

    def written(self, name: str, hashes: dict[str, str]) -> None:
        """The stage `name` has just written these."""
        self._contents[name] = hashes

    def fingerprint(self, stage: Stage) -> dict[str, Any]:
        """All that decides the stage's result. Raises ModelFileError for a user's file that cannot be read."""
        values, _ = values_and_files(self._cfg, stage.reads)
        return {
            "code": stage.code(),
            "config": values,
            "files": {key: self._hash_outside(key, path) for key, path in self._files(stage).items()},
            "inputs": {name: self._inputs(name, stage.tells_facts) for name in stage.needs},
            "versions": versions(),
        }

    def _files(self, stage: Stage) -> dict[str, Path]:
        return values_and_files(self._cfg, stage.reads)[1]

    def _inputs(self, name: str, with_facts: bool) -> dict[str, str]:
        """What the stage after `name` reads: as it lies there, which is not always what `name` wrote."""
        if self._workspace.record(name) is None:
            return {}
        hashes = dict(self.content(name))
        for artifact, sha256 in hashes.items():
            if sha256.startswith(UNREADABLE):
                raise StageError(
                    f"{name}/{artifact}, which a later stage reads, {sha256}",
                    expected="artifacts that can be read",
                    found=str(self._workspace.folder(name) / artifact),
                    remedy=f"run with --from {name}: it is made again",
                    code="K2D-0034",
                )
        if with_facts:
            hashes[STAGE_JSON] = sha256_file(self._workspace.folder(name) / STAGE_JSON)
        return hashes

    def content(self, name: str) -> dict[str, str]:
        """The hashes of what lies in the folder of the stage `name`."""
        if name not in self._contents:
            self._contents[name] = self._workspace.contents(name)
        return self._contents[name]

    def _hash_outside(self, key: str, path: Path) -> str:
        if key not in self._outside:
            try:
                state = state_outside(path, self._cfg.workspace)
            except OSError:
                state = ""  # The hash has the clear words.
            self._outside[key] = sha256_outside(path, key, self._cfg.workspace), state
        return self._outside[key][0]

    def require_still(self, stage: Stage) -> None:
        """Raises ModelFileError where a user's file was written to while the stage read it."""
        for key, path in self._files(stage).items():
            sha256, state = self._outside[key]
            now = state_outside(path, self._cfg.workspace)
            if now != state and sha256_outside(path, key, self._cfg.workspace) != sha256:
                raise ModelFileError(
                    f"{key} was written to while {stage.name} read it",
                    expected="files that stay as they are during a run",
                    found=str(path),
                    remedy="run again when they are complete",
                )
