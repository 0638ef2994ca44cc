"""What is shipped: a wheel that holds its data, dependencies that are declared, pinned and listed, three Pythons."""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from environments import NotHereError, find_python
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
BILL: dict[str, Any] = json.loads((ROOT / "sbom.cdx.json").read_text(encoding="utf-8"))
COMPONENTS = {canonicalize_name(item["name"]): item for item in BILL["components"]}
SMALL = "train_save: {epochs: 1}\ncalibration: {count: 20}\n"


def clean() -> dict[str, str]:
    """The environment without what leads Python to the checkout."""
    return {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}


def run(words: list[Any], folder: Path) -> str:
    done = subprocess.run(list(map(str, words)), cwd=folder, env=clean(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built of a copy, since the build leaves folders beside its sources."""
    copy, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    shutil.copytree(ROOT / "dnndk_prep", copy / "dnndk_prep", ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-deps"]
    run([*pip, "--wheel-dir", out, copy], out)
    (made,) = out.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of the wheel in an environment of its own, with this one's dependencies but not its checkout."""
    folder = tmp_path_factory.mktemp("environment")
    run([sys.executable, "-m", "venv", "--without-pip", folder], folder)
    site = next((folder / "lib").glob("python*/site-packages"))
    # A line in a .pth adds a folder, but not the .pth files there, one of which may lead to the checkout.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", folder / "bin" / "python"]
    run([*pip, "install", "--quiet", "--no-deps", "--no-index", "--ignore-installed", wheel], folder)
    return folder / "bin" / "dnndk-prep"


def test_the_wheel_holds_every_file_of_the_package(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if name.startswith("dnndk_prep/")}
    files = [path.relative_to(ROOT) for path in (ROOT / "dnndk_prep").rglob("*") if path.is_file()]
    # Caches of Python and of its tools.
    assert held == {path.as_posix() for path in files if not any(part[:2] in ("__", ".m") for part in path.parts[:-1])}
    assert {Path(name).suffix for name in held} > {".py", ".npz", ".yaml", ".json", ".j2", ".csv"}


def test_the_wheel_works_elsewhere(installed: Path, tmp_path: Path):
    where = "import dnndk_prep; print(dnndk_prep.__file__)"
    assert run([installed.parent / "python", "-c", where], tmp_path).startswith(str(installed.parents[1]))
    assert "pipeline.yaml" in run([installed, "init"], tmp_path)
    assert "no mistakes found" in run([installed, "check"], tmp_path)
    assert "zcu104" in run([installed, "targets"], tmp_path)
    assert run([installed, "schema"], tmp_path) == (tmp_path / "pipeline.schema.json").read_text()
    assert "K2D-0007" in run([installed, "explain", "K2D-0007"], tmp_path)
    (tmp_path / "sweep.yaml").write_text("targets: {a: {board: kv260}}\n")
    assert "run train_save" in run([installed, "sweep", "--dry-run"], tmp_path)


@pytest.mark.slow
def test_the_wheel_runs_elsewhere(installed: Path, tmp_path: Path):
    (tmp_path / "pipeline.yaml").write_text(SMALL)
    run([installed, "run"], tmp_path)
    assert (tmp_path / "workspace" / "report" / "report.html").is_file()


def supported() -> list[str]:
    """The Pythons that pyproject.toml names."""
    allowed = SpecifierSet(PROJECT["requires-python"])
    return [f"3.{minor}" for minor in range(8, 30) if allowed.contains(f"3.{minor}")]


def test_the_lock_is_of_a_supported_python():
    assert supported() == ["3.11", "3.12", "3.13"]
    lock = runpy.run_path(str(ROOT / "scripts" / "lock"))
    assert lock["PYTHON"] in supported()


@pytest.mark.slow
@pytest.mark.parametrize("version", supported())
def test_a_clean_installation_runs_and_holds_what_is_listed(version: str, wheel: Path, tmp_path: Path):
    try:
        python = find_python(version)
    except NotHereError as error:
        pytest.skip(str(error))
    run([python, "-m", "venv", tmp_path / "env"], tmp_path)
    bare = {canonicalize_name(name) for name in names_in(tmp_path / "env")}
    run([tmp_path / "env" / "bin" / "python", "-m", "pip", "install", "--quiet", wheel], tmp_path)
    brought = {canonicalize_name(name) for name in names_in(tmp_path / "env")} - bare
    assert brought - {"dnndk-prep"} <= COMPONENTS.keys()
    # A later Python may need fewer: what fills in for its own library.
    assert len(COMPONENTS.keys() - brought) <= len(bare) + 3
    (tmp_path / "pipeline.yaml").write_text(SMALL)
    run([tmp_path / "env" / "bin" / "dnndk-prep", "run"], tmp_path)
    assert (tmp_path / "workspace" / "report" / "report.html").is_file()


def names_in(environment: Path) -> list[str]:
    code = "from importlib import metadata\nfor one in metadata.distributions(): print(one.metadata['Name'])"
    return run([environment / "bin" / "python", "-c", code], environment).split()


def test_the_lock_and_the_bill_are_of_the_same_files():
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    found = [re.fullmatch(r"(\S+)==(\S+) --hash=sha256:([0-9a-f]{64})", line) for line in lines]
    assert None not in found
    pinned = {one[1]: (one[2], one[3]) for one in found if one}
    assert pinned == {name: (item["version"], item["hashes"][0]["content"]) for name, item in COMPONENTS.items()}
    assert "://" not in text


def test_what_is_declared_leads_to_what_is_listed_and_to_nothing_else():
    needs = {entry["ref"]: entry["dependsOn"] for entry in BILL["dependencies"]}
    reached, waiting = set(), [PROJECT["name"]]
    while waiting:
        reference = waiting.pop()
        if reference not in reached:
            reached.add(reference)
            waiting += needs[reference]
    assert reached == {PROJECT["name"], *(item["bom-ref"] for item in BILL["components"])}
    declared = {canonicalize_name(need.name): need for need in map(Requirement, PROJECT["dependencies"])}
    assert {canonicalize_name(ref.split("/")[1].split("@")[0]) for ref in needs[PROJECT["name"]]} == declared.keys()
    assert [name for name, need in declared.items() if not need.specifier.contains(COMPONENTS[name]["version"])] == []


def test_the_bill_says_what_the_packages_say():
    lock, checked = runpy.run_path(str(ROOT / "scripts" / "lock")), []
    listed = {entry["ref"]: entry["dependsOn"] for entry in BILL["dependencies"]}
    for name, item in COMPONENTS.items():
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        if found.version != item["version"] or sys.version_info[:2] != tuple(map(int, lock["PYTHON"].split("."))):
            continue
        told = found.metadata
        facts = {"name": item["name"], "classifier": told.get_all("Classifier") or [], "license": told.get("License")}
        facts["license_expression"] = told.get("License-Expression")
        assert item["licenses"] == [lock["licence"](facts)]
        needs = [need for need in map(Requirement, found.requires or []) if lock["_applies"](str(need), [])]
        names = {canonicalize_name(ref.split("/")[1].split("@")[0]) for ref in listed[item["bom-ref"]]}
        assert {canonicalize_name(need.name) for need in needs} <= names
        checked.append(name)
    if not checked:
        pytest.skip("no package here is of the release in requirements.lock")


def test_the_image_takes_pinned_files_only_and_runs_as_nobody_in_particular():
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    build, _, runtime = re.split(r"^FROM ", text, flags=re.MULTILINE)[1:]
    installs = [line for line in build.splitlines() if "pip install" in line]
    assert "--require-hashes -r requirements.lock" in installs[0]
    assert ["--no-deps --no-build-isolation" in line for line in installs[1:]] == [True]
    assert re.search(r"^USER 1000:1000$", runtime, re.MULTILINE)
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    copied = [word for line in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE) for word in line.split()]
    assert [word for word in copied if f"!{word}" not in ignored] == []
