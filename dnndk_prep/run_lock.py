"""run.lock.yaml: what the artifacts in a workspace were made of and with, and what differs from that now."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml
from pydantic import ConfigDict

from dnndk_prep.config_file import load_checked
from dnndk_prep.config_values import Section
from dnndk_prep.file_hashes import sha256_values

FILE = "run.lock.yaml"
HEAD = """\
# What this workspace was made of and with, written by `dnndk-prep run`; `dnndk-prep verify-lock` compares it with
# what is here now. It holds no path and no time: it can be kept beside pipeline.yaml.
"""
# All that can change a byte of an artifact.
PACKAGES = (
    *("dnndk-prep", "tensorflow", "keras", "tf_keras", "h5py", "numpy", "protobuf", "Pillow"),
    *("jinja2", "pydantic", "pyyaml", "matplotlib"),
)
TIMED = "holds times, so it differs from run to run"
ABSENT = "none"
# A line an artifact, and an artifact may be one of many calibration images in each bundle.
MAX_VALUES = 2_000_000


class LockedStage(Section):
    """What one stage was made of, and its artifacts."""

    code: str
    # Of its own settings and files; those of the whole file are of all stages, and may change between two runs.
    made_of: str
    artifacts: dict[str, str]


class LockFile(Section):
    """The content of run.lock.yaml."""

    # What was written is compared, not what it can be read as: `"0"` is no seed.
    model_config = ConfigDict(strict=True)

    format: int
    versions: dict[str, str]
    # TensorFlow shares sums among so many threads: a training repeats to the last bit on the same number.
    cores: int
    seed: int | None = None
    settings: dict[str, Any]
    files: dict[str, str]
    stages: dict[str, LockedStage]


@dataclass(frozen=True)
class Made:
    """One finished stage: its fingerprint, and the hash of each artifact (or TIMED)."""

    fingerprint: Mapping[str, Any]
    artifacts: Mapping[str, str]


def described(stages: Mapping[str, Made]) -> dict[str, Any]:
    """What a LockFile holds, of these stages."""
    settings: dict[str, Any] = {}
    files: dict[str, str] = {}
    for made in stages.values():
        settings |= made.fingerprint["config"]
        files |= made.fingerprint["files"]
    seed = settings.pop("seed", None)
    return {
        "format": 1,
        "versions": _versions(),
        "cores": len(os.sched_getaffinity(0)),
        "seed": seed,
        "settings": dict(sorted(_plain(settings).items())),
        "files": dict(sorted(files.items())),
        "stages": {name: _stage(made) for name, made in stages.items()},
    }


def as_text(content: Mapping[str, Any]) -> str:
    return HEAD + yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True, width=120)


def read(path: Path) -> dict[str, Any]:
    """Raises UsageError for a file that is not there or is no lock file, with each mistake in it."""
    return load_checked(path, LockFile, max_nodes=MAX_VALUES).model_dump()


def differences(locked: Any, found: Any, name: str = "") -> Iterator[str]:
    """Each value that is not as it is locked, by its dotted name."""
    if isinstance(locked, Mapping) and isinstance(found, Mapping):
        for key in [*locked, *(key for key in found if key not in locked)]:
            inner = f"{name}.{key}" if name else str(key)
            yield from differences(locked.get(key, ABSENT), found.get(key, ABSENT), inner)
    elif locked != found:
        yield f"{name}: locked {_short(locked)}, found {_short(found)}"


def _stage(made: Made) -> dict[str, Any]:
    own = _plain({part: made.fingerprint[part] for part in ("config", "files", "versions")})
    return {
        "code": made.fingerprint["code"],
        "made_of": sha256_values(own),
        "artifacts": dict(made.artifacts),
    }


@cache
def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = ABSENT
    return found


def _plain(value: Any) -> Any:
    """As JSON has it, in which fingerprints are kept."""
    return json.loads(json.dumps(value))


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{len(value)} entries"
    text = str(value)
    is_hash = len(text) == 64 and set(text) <= set("0123456789abcdef")
    return f"{text[:12]}..." if is_hash else text
