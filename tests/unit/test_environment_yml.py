"""environment.yml and the set-up scripts name nothing that pyproject.toml does not."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))


def test_environment_holds_python_pip_and_the_project_alone() -> None:
    python, *others = ENVIRONMENT["dependencies"]
    assert re.fullmatch(r"python=3\.\d+", python)
    assert others == ["pip", {"pip": ["-e ."]}]
    assert ENVIRONMENT["name"] == PROJECT["name"].replace("-", "_")


def test_environments_python_is_supported() -> None:
    version = ENVIRONMENT["dependencies"][0].removeprefix("python=")
    assert SpecifierSet(PROJECT["requires-python"]).contains(version)


def test_set_up_tries_the_supported_pythons_newest_first() -> None:
    text = (ROOT / "scripts/_environment.sh").read_text(encoding="utf-8")
    names = re.search(r"^PYTHONS=\((.*)\)$", text, re.MULTILINE)
    assert names
    supported = SpecifierSet(PROJECT["requires-python"])
    expected = [f"python3.{minor}" for minor in range(30, 0, -1) if supported.contains(f"3.{minor}")]
    assert names[1].split() == expected
