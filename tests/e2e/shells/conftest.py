"""The checkout with stand-ins, and the shells that call it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from standins import COPIED, NAME, PIPELINE, PYTHON, ROOT, TOOLS, Checkout, set_requirements


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    root = tmp_path / 'it\'s a "check out"'
    for name in (*COPIED, "pyproject.toml", "environment.yml"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, root / name)
    (root / "dnndk_prep").mkdir()
    (root / "dnndk_prep/__main__.py").write_text(PIPELINE)
    # The real requirements are the subject of one test alone.
    set_requirements(root, ["packaging"])
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in (*TOOLS, "basename"):
        if found := shutil.which(tool):
            (tools / tool).symlink_to(found)
    env = {"PATH": str(tools), "HOME": str(tmp_path), "LOG": str(tmp_path / "log"), "CONDAS": str(tmp_path / "condas")}
    made = Checkout(root, tools, env)
    env["STANDIN_PYTHON"] = str(made.add("../stand-in-python", PYTHON))
    return made


@pytest.fixture
def with_python(checkout: Checkout) -> Checkout:
    checkout.add(NAME, PYTHON)
    return checkout


@pytest.fixture(params=["bash", "zsh"])
def shell(request: pytest.FixtureRequest) -> str:
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return str(request.param)
