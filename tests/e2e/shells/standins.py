"""A copy of the shells with a stand-in Python, conda and pipeline, and what their calls left behind."""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
COPIED = ("run_all.sh", "scripts/_run_all", "scripts/_environment.sh", "scripts/_requirements.py", "scripts/test")
TOOLS = ("bash", "zsh", "dirname", "readlink", "sed", "rm", "mkdir", "cp", "cat", "env", "sort", "touch")
NAME = f"python3.{sys.version_info.minor}"

# Logs its words; makes environments and installs without doing so; runs everything else with the real Python.
PYTHON = f"""#!{shutil.which("bash")} -p
printf '%s\\n' "python $*" >> "$LOG"
case "$*" in
"-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
"-m pip "*)
    echo "Collecting things"
    [ "${{PIP_RESULT:-0}}" = 0 ] || echo "ERROR: no network" >&2
    exit "${{PIP_RESULT:-0}}" ;;
"-m pytest"*) exit 0 ;;
*) exec '{sys.executable}' "$@" ;;
esac
"""

# Logs its words; its environments are the folders in $CONDAS.
CONDA = """#!/usr/bin/env bash
printf '%s\\n' "conda $*" >> "$LOG"
case "$1 $2" in
"env list")
    printf '# conda environments:\\n#\\n%-20s  * %s\\n' base /opt/conda
    for one in "$CONDAS"/*/; do [ -d "$one" ] && printf '%-20s    %s\\n' "$(basename "$one")" "${one%/}"; done
    exit 0 ;;
"env create") mkdir -p "$CONDAS/$5/bin" && cp "$STANDIN_PYTHON" "$CONDAS/$5/bin/python" ;;
"env update") : ;;
"run -n") name=$3; shift 5; exec "$CONDAS/$name/bin/python" "$@" ;;
*) echo "unexpected: conda $*" >&2; exit 99 ;;
esac
"""

PIPELINE = """
import json, os, sys, time
words = sys.argv[1:]
try:
    print("PIPELINE " + json.dumps({"words": words, "cwd": os.getcwd()}), flush=True)
    time.sleep(30 if "--sleep" in words else 0)
except KeyboardInterrupt:
    print("go on with: ...")
    sys.exit(130)
sys.exit(int(words[-1]) if words[-1].isdigit() else 0)
"""


@dataclass
class Checkout:
    """A copy of the shells around a stand-in pipeline, with a PATH that holds nothing else."""

    root: Path
    bin: Path
    env: dict[str, str]

    @property
    def venv(self) -> Path:
        return self.root / ".venv"

    def add(self, name: str, text: str) -> Path:
        path = self.bin / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
        return path

    def run(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        return self.shell("bash", 'exec bash "$HOME/"*check*out*/run_all.sh "$@"', *words, **env)

    def shell(self, shell: str, script: str, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        options = ["--norc"] if shell == "bash" else ["-f"]
        command = [str(self.bin / shell), *options, "-c", script, shell, *words]
        return subprocess.run(
            command, env=self.env | env, cwd=self.root.parent, text=True, capture_output=True, stdin=subprocess.DEVNULL
        )

    def log(self) -> list[str]:
        """The stand-ins' calls since the last look."""
        path = Path(self.env["LOG"])
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines


def set_requirements(root: Path, needs: list[str]) -> None:
    text = f'[project]\ndependencies = {json.dumps(needs)}\n[project.optional-dependencies]\ndev = ["pytest"]\n'
    (root / "pyproject.toml").write_text(text)


def reached(done: subprocess.CompletedProcess[str]) -> dict[str, object]:
    """What the stand-in pipeline was called with."""
    lines = [line for line in done.stdout.splitlines() if line.startswith("PIPELINE ")]
    assert len(lines) == 1, done.stdout + done.stderr
    found: dict[str, object] = json.loads(lines[0].removeprefix("PIPELINE "))
    return found


def calls(log: list[str], start: str) -> list[str]:
    return [line for line in log if line.startswith(start)]


def make_environment(checkout: Checkout, prefix: Path) -> Path:
    (prefix / "bin").mkdir(parents=True)
    shutil.copy2(checkout.env["STANDIN_PYTHON"], prefix / "bin/python")
    return prefix


def listing(folder: Path) -> list[tuple[str, bytes]]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and "__pycache__" not in path.parts)
    return [(str(path.relative_to(folder)), path.read_bytes()) for path in files]


class Terminal:
    """bash, or `words`, on a pseudo-terminal."""

    def __init__(self, checkout: Checkout, words: list[str], **env: str) -> None:
        command = words if words[0] in ("bash", "zsh") else ["bash", *words]
        self.shown = ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(checkout.root.parent)
            os.execve(str(checkout.bin / command[0]), command, checkout.env | env | {"TERM": "dumb"})

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)
        os.waitpid(self.pid, 0)

    def write(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def until(self, word: str, seconds: float = 20) -> str:
        """All that was shown up to and with `word`; what comes after it is left for the next call."""
        end = time.monotonic() + seconds
        while word not in self.shown and time.monotonic() < end:
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    self.shown += os.read(self.fd, 4096).decode(errors="replace")
                except OSError:
                    break
        assert word in self.shown, self.shown
        before, _, self.shown = self.shown.partition(word)
        return before + word
