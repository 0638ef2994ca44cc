"""Builds the environments of the old TensorFlows, each once: `python tests/readers/environments.py` builds all."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
READERS: dict[str, dict] = tomllib.loads((HERE / "readers.toml").read_text())
# pip, setuptools and wheel of later years pick packages that Python 3.6 cannot run.
TOOLS = {"3.6": ["pip==21.3.1", "setuptools<59", "wheel<0.38"]}
REQUIRED = "DNNDK_PREP_REQUIRE_READERS"


class NoReaderError(Exception):
    """The environment of an old TensorFlow cannot be had here."""


def python_of(reader: str) -> Path:
    """The Python that has TensorFlow `reader`, built on the first call. Raises NoReaderError with the reason."""
    folder = _cache() / f"tensorflow-{reader}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(folder.suffix + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = _key(reader)
        stamp = folder / "built.txt"
        if not (stamp.is_file() and stamp.read_text() == wanted):
            _build(reader, folder)
            stamp.write_text(wanted)
    return folder / "bin" / "python"


def _cache() -> Path:
    return Path(os.environ.get("DNNDK_PREP_READERS") or Path.home() / ".cache" / "dnndk_prep" / "readers")


def _key(reader: str) -> str:
    return hashlib.sha256(json.dumps([READERS[reader], TOOLS]).encode()).hexdigest()


def _build(reader: str, folder: Path) -> None:
    facts = READERS[reader]
    python = _find_python(facts["python"])
    shutil.rmtree(folder, ignore_errors=True)
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    steps = [[python, "-m", "venv", folder]]
    if facts["python"] in TOOLS:
        steps.append([*pip, *TOOLS[facts["python"]]])
    steps += [[*pip, facts["tensorflow"], *facts["pins"]], [folder / "bin" / "python", "-c", "import tensorflow"]]
    for step in steps:
        done = subprocess.run(list(map(str, step)), stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode != 0:
            raise NoReaderError(f"TensorFlow {reader} cannot be installed: {done.stderr.strip()[-500:]}")


def _find_python(version: str) -> Path:
    candidates = []
    if on_path := shutil.which(f"python{version}"):
        candidates.append(Path(on_path))
    roots = [os.environ.get("PYENV_ROOT"), _pyenv_root(), str(Path.home() / ".pyenv")]
    for root in filter(None, roots):
        candidates += sorted(Path(root).glob(f"versions/{version}.*/bin/python"))
    for candidate in candidates:
        code = "import sys, venv; print('%d.%d' % sys.version_info[:2])"
        # A shim of pyenv stands on PATH for versions that are not selected, and refuses.
        done = subprocess.run([candidate, "-c", code], capture_output=True, text=True)
        if done.returncode == 0 and done.stdout.strip() == version:
            return candidate
    raise NoReaderError(f"no Python {version} was found (PATH, pyenv)")


def _pyenv_root() -> str | None:
    pyenv = shutil.which("pyenv")
    if pyenv is None:
        return None
    return subprocess.run([pyenv, "root"], capture_output=True, text=True).stdout.strip() or None


if __name__ == "__main__":
    for name in READERS:
        try:
            print(name, python_of(name), flush=True)
        except NoReaderError as error:
            sys.exit(f"{name}: {error}")
