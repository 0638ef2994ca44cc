"""Builds environments of other years, each once: `python tests/environments.py` builds all."""

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
ENVIRONMENTS: dict[str, dict] = tomllib.loads((HERE / "environments.toml").read_text())
READERS = [name for name, facts in ENVIRONMENTS.items() if "tensorflow" in facts]
# pip, setuptools and wheel of later years pick packages that Python 3.6 cannot run.
TOOLS = {"3.6": ["pip==21.3.1", "setuptools<59", "wheel<0.38"]}
REQUIRED = "DNNDK_PREP_REQUIRE_READERS"


class NotHereError(Exception):
    """An environment cannot be had on this machine."""


def python_of(name: str) -> Path:
    """The Python of the environment `name`, built on the first call. Raises NotHereError with the reason."""
    folder = cache() / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(folder.suffix + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = _key(name)
        stamp = folder / "built.txt"
        if not (stamp.is_file() and stamp.read_text() == wanted):
            _build(name, folder)
            stamp.write_text(wanted)
    return folder / "bin" / "python"


def without_tensorflow() -> dict[str, str]:
    """The environment for a Python with another TensorFlow: importing this one's sets TF2_BEHAVIOR for all."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("TF2_", "TF_", "KERAS_"))}


def cache() -> Path:
    return Path(os.environ.get("DNNDK_PREP_READERS") or Path.home() / ".cache" / "dnndk_prep" / "readers")


def _key(name: str) -> str:
    return hashlib.sha256(json.dumps([ENVIRONMENTS[name], TOOLS]).encode()).hexdigest()


def _build(name: str, folder: Path) -> None:
    facts = ENVIRONMENTS[name]
    python = find_python(facts["python"])
    shutil.rmtree(folder, ignore_errors=True)
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    steps = [[python, "-m", "venv", folder]]
    if facts["python"] in TOOLS:
        steps.append([*pip, *TOOLS[facts["python"]]])
    pins = list(facts["pins"])
    if "tensorflow" in facts:
        pins.append(f"tensorflow=={facts['tensorflow']}")
    steps.append([*pip, *pins])
    for step in steps:
        done = subprocess.run(list(map(str, step)), stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode != 0:
            raise NotHereError(f"the environment {name} cannot be made: {done.stderr.strip()[-500:]}")


def find_python(version: str) -> Path:
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
    raise NotHereError(f"no Python {version} was found (PATH, pyenv)")


def _pyenv_root() -> str | None:
    pyenv = shutil.which("pyenv")
    if pyenv is None:
        return None
    return subprocess.run([pyenv, "root"], capture_output=True, text=True).stdout.strip() or None


if __name__ == "__main__":
    for environment in ENVIRONMENTS:
        try:
            print(environment, python_of(environment), flush=True)
        except NotHereError as error:
            sys.exit(str(error))
