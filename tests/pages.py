"""Follows a page of the documentation as its reader does: commands, Python and changes of the YAML, in their order.

A fenced block is one of these, by the words behind its fence:

    sh                                         commands, one after another; each has to end with 0
    sh title="ends with exit code 7"           the last one has to end so
    sh title="not run by the tests: a reason"  tests/unit/test_docs_pages.py lists all of them
    python                                     run
    yaml title="pipeline.yaml"                 the reader changes these keys of the file
    json title="query.txt"                     the reader writes this file
    yaml, text, java, ...                      only looked at
"""

from __future__ import annotations

import contextlib
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from dnndk_prep import cli

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
OURS = (["dnndk-prep"], ["python", "-m", "dnndk_prep"])
FENCE = re.compile(r"^(?P<fence>```+)(?P<words>[^`\n]*)\n(?P<text>.*?)^(?P=fence)$", re.M | re.S)
WORDS = re.compile(r'(?P<language>\w*)( title="(?P<title>[^"]+)")?')
NOT_RUN, ENDS_WITH = "not run by the tests: ", "ends with exit code "
INTO = re.compile(r"dnndk-prep (?P<words>[^|&;<>$`*?(){}~]*) > (?P<file>\S+)")
# What only a shell can make sense of.
SHELL = re.compile(r"[|&;<>$`*?(){}~]")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its title, its text, and the line where it begins."""

    page: Path
    line: int
    language: str
    title: str
    text: str

    @property
    def elsewhere(self) -> str | None:
        """Why the tests do not run it."""
        return self.title.removeprefix(NOT_RUN) if self.title.startswith(NOT_RUN) else None

    @property
    def exit_code(self) -> int:
        return int(self.title.removeprefix(ENDS_WITH)) if self.title.startswith(ENDS_WITH) else 0

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@dataclass
class Reader:
    """Somebody in a folder, who does what the page says."""

    folder: Path
    patch: pytest.MonkeyPatch
    env: dict[str, str] = field(default_factory=dict)

    def follow(self, page: Path) -> Path:
        """Do all that `page` says, in its order; gives the folder in which it ends."""
        for block in blocks(page):
            self.patch.chdir(self.folder)
            if block.elsewhere is not None:
                continue
            if block.language == "sh":
                self._run(block)
            elif block.language == "python":
                self._python(block)
            elif block.title:
                self._write(block)
        return self.folder

    def _run(self, block: Block) -> None:
        steps = list(_steps(block.text))
        for i, step in enumerate(steps):
            wanted = block.exit_code if i == len(steps) - 1 else 0
            found, told = self._step(step)
            assert found == wanted, f"{block.place}: {step}: exit code {found}\n{told[-2000:]}"

    def _step(self, step: str) -> tuple[int, str]:
        """The exit code of a command, or of lines of shell, and what it printed where that is known."""
        words = [] if SHELL.search(step) else shlex.split(step, comments=True)
        if words[:1] == ["cd"]:
            self.folder = (self.folder / words[1]).resolve()
            self.patch.chdir(self.folder)
            return 0, ""
        for ours in OURS:
            if words[: len(ours)] == ours:
                return _called(words[len(ours) :]), ""
        if into := INTO.fullmatch(step):
            with (self.folder / into["file"]).open("w", encoding="utf-8") as file, contextlib.redirect_stdout(file):
                return _called(shlex.split(into["words"])), ""
        if words[:1] == ["python"] and words[1].endswith(".py"):
            return self._script(words[1:]), ""
        command, env = ["bash", "-e", "-c", step], self.env
        done = subprocess.run(
            command, cwd=self.folder, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        return done.returncode, done.stdout + done.stderr

    def _script(self, words: list[str]) -> int:
        """A script in this process; what it imported beside itself and where it looked is forgotten behind it."""
        modules, places = set(sys.modules), list(sys.path)
        self.patch.setattr(sys, "argv", words)
        try:
            return _ended(lambda: runpy.run_path(words[0], run_name="__main__"))
        finally:
            sys.path[:] = places
            for name in set(sys.modules) - modules:
                if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(self.folder)):
                    del sys.modules[name]

    def _write(self, block: Block) -> None:
        path = self.folder / block.title
        if block.language == "yaml":
            _change(path, block.text)
        else:
            path.write_text(block.text, encoding="utf-8")

    def _python(self, block: Block) -> None:
        exec(compile("\n" * block.line + block.text, str(block.page), "exec"), {"__name__": "__main__"})


def pages() -> list[Path]:
    """Every page: the README and all of docs/."""
    return [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        words = WORDS.fullmatch(match["words"].strip())
        assert words is not None, f"{page}: {match['words']}"
        line = text.count("\n", 0, match.start()) + 1
        found.append(Block(page, line, words["language"], words["title"] or "", match["text"]))
    return found


def _steps(text: str) -> Iterator[str]:
    """The commands of a block: each of ours and each `cd` by itself, what is between them as one script."""
    script: list[str] = []
    for line in text.replace("\\\n", " ").splitlines():
        alone = line.startswith(("cd ", "python ", "dnndk-prep ")) and not SHELL.search(line)
        alone = alone or INTO.fullmatch(line) is not None
        if alone and script:
            yield "\n".join(script)
            script = []
        if alone:
            yield line
        elif line.strip() and not line.startswith("#"):
            script.append(line)
    if script:
        yield "\n".join(script)


def _called(words: list[str]) -> int:
    """The command in this process, which has TensorFlow loaded already."""
    return _ended(lambda: cli.main(words))


def _ended(work: Callable[[], object]) -> int:
    """The exit code: what `work` gives as a number, or what it ends with."""
    try:
        code = work()
    except SystemExit as end:
        code = end.code
    # Words are an error; a script that ran to its end gives its variables.
    return code if isinstance(code, int) else int(isinstance(code, str))


def _change(path: Path, text: str) -> None:
    """The keys of `text` in the YAML at `path`, over those that are there."""
    there = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.write_text(yaml.safe_dump(_merged(there or {}, yaml.safe_load(text)), sort_keys=False), encoding="utf-8")


def _merged(old: Any, new: Any) -> Any:
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    return {**old, **{key: _merged(old.get(key), value) for key, value in new.items()}}
