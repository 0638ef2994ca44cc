"""Names of files, folders and layers that are commands, markup or no text at all: they stay names, in every file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from html.parser import HTMLParser
from pathlib import Path

import h5py
import numpy as np
import pytest
from figures import Figures
from PIL import Image

CANARY = "touch pwned"
HOSTILE = [
    f"$({CANARY})", f"`{CANARY}`", f"a;{CANARY};", f"'; {CANARY} #", f'"; {CANARY} #', f"a\n{CANARY}\n", "a b", "-rf",
    "<img src=x onerror=alert(1)>", "<script>alert(1)<", "{{ 7 * 7 }}", "%s{0}", "'''", '"""', "é\u202e",
]  # fmt: skip
# An absolute path that nothing else writes to.
OUTSIDE = str(Path(tempfile.gettempdir()) / "dnndk_prep_written_outside")
NOT_TEXT = b"b\xff\xfe.png"
# Windows and everything a shell reads as its own; a name of a file cannot hold a slash.
MODEL = f"net $({CANARY})`{CANARY}` '\";<b>.h5"


class Elements(HTMLParser):
    """Which elements and handlers a page has, and all its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.handlers: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, class folders and images under such names."""
    import keras

    folder = tmp_path_factory.mktemp("names") / "work $(touch pwned) '<b>"
    folder.mkdir()
    image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Conv2D(4, 3, activation="relu", name="<script>alert(1)'; touch pwned #")(image)
    x = keras.layers.Dense(2, activation="softmax", name="prob")(keras.layers.Flatten(name="flat")(x))
    keras.Model(image, x, name='m"; touch pwned; "').save(folder / "plain.h5")
    (folder / "plain.h5").rename(folder / MODEL)
    noise = np.random.default_rng(0)
    for label in ("<b>one", f"two$({CANARY})"):
        (folder / "data" / label).mkdir(parents=True)
        for name in HOSTILE:
            pixels = noise.integers(0, 256, (8, 8, 3), np.uint8)
            Image.fromarray(pixels).save(folder / "data" / label / f"{name}.png", "PNG")
    return folder


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dnndk_prep", *words]
    options = {"capture_output": True, "text": True, "errors": "replace", "stdin": subprocess.DEVNULL}
    return subprocess.run(command, cwd=folder, check=False, **options)


def yaml(folder: Path, **more: object) -> Path:
    cfg = {
        "model": {"path": MODEL},
        "dataset": {"name": "folder", "path": "data"},
        "preprocess": {"channels": "rgb", "scale": 0.004},
        "calibration": {"count": 8, "batch_size": 4},
        "target": {"board": "zcu104"},
    }
    # JSON is YAML.
    (folder / "pipeline.yaml").write_text(json.dumps(cfg | more))
    return folder / "pipeline.yaml"


def test_hostile_names_stay_names(home: Path, figures: Figures):
    outside = {path for path in home.parent.rglob("*") if "workspace" not in path.parts}
    yaml(home, saved_model={"enabled": True, "name": "m"}, tensorboard={"enabled": True, "prefix": "p"})
    with figures("Inputs", "names of files, classes and layers that are commands or markup") as row:
        row.cases = 2 * len(HOSTILE) + 4
        row.runs = 1
        done = run(home, "run")
        assert done.returncode == 0, done.stdout + done.stderr
        workspace = home / "workspace"
        known = {*outside, home / "pipeline.yaml"}
        row.lost += len({path for path in home.parent.rglob("*") if "workspace" not in path.parts} - known)
        assert not list(home.parent.rglob("pwned"))
        assert len(list(workspace.rglob("*.sh"))) >= 5
        for script in workspace.rglob("*.sh"):
            # It reads the scripts and runs nothing of them.
            read = subprocess.run(["bash", "-n", script], capture_output=True, text=True)
            assert read.returncode == 0, read.stderr
        tools = home.parent / "tools"
        tools.mkdir()
        for tool in ("decent_q", "dnnc", "vai_q_tensorflow", "vai_c_tensorflow", "vai_c_tensorflow2", "python"):
            (tools / tool).write_text("#!/bin/sh\nexit 0\n")
            (tools / tool).chmod(0o755)
        for script in workspace.rglob("*.sh"):
            environment = {"PATH": f"{tools}:/usr/bin:/bin", "PYTHON": "true"}
            subprocess.run(["bash", script], cwd=script.parent, env=environment, capture_output=True, timeout=60)
        for module in workspace.rglob("input_fn.py"):
            ran = subprocess.run([sys.executable, "-c", "import input_fn"], cwd=module.parent, capture_output=True)
            assert ran.returncode == 0, ran.stderr
        assert not list(home.parent.rglob("pwned"))
        page = (workspace / "report" / "report.html").read_text()
        elements = Elements(page)
        assert not elements.handlers
        # Its own script and its own facts.
        facts = page.count('<script type="application/json"')
        assert elements.tags.count("script") == page.count("<script") == 1 + facts


@pytest.mark.faults
def test_bytes_that_are_no_text_are_named(home: Path):
    path = home / "data" / "<b>one" / "a b.png"
    strange = Path(os.fsdecode(os.fsencode(path.parent) + b"/" + NOT_TEXT))
    path.rename(strange)
    yaml(home, workspace="workspace/bytes")
    done = run(home, "run")
    strange.rename(path)
    assert "Traceback" not in done.stderr
    assert done.returncode == 0 or "xff" in done.stderr, done.stderr


@pytest.mark.parametrize(
    "more",
    [
        {"saved_model": {"name": "../../../out"}},
        {"saved_model": {"name": OUTSIDE}},
        *(
            pytest.param(more, marks=pytest.mark.faults)
            for more in (
                {"saved_model": {"assets": ["../../data"]}},
                {"tensorboard": {"prefix": "../../out"}},
                {"graph": {"outputs": {"prob": "../../../out"}}},
                {"graph": {"inputs": {"image": "../../../out"}}},
            )
        ),
    ],
    ids=json.dumps,
)
def test_no_key_leads_out_of_the_workspace(home: Path, more: dict[str, object], tmp_path: Path):
    before = {path for path in home.parent.rglob("*") if "workspace" not in path.parts}
    path = yaml(home, workspace="workspace/keys", **more)
    done = run(home, "run", path.name, "--to", "export")
    assert "Traceback" not in done.stderr
    assert {path for path in home.parent.rglob("*") if "workspace" not in path.parts} == before
    assert not Path(OUTSIDE).exists()


@pytest.mark.faults
def test_layers_named_as_paths_write_inside_the_workspace(home: Path):
    """Names of layers become names of files where tensors are dumped."""
    with h5py.File(home / MODEL, "r+") as file:
        text = file.attrs["model_config"]
        text = text.decode() if isinstance(text, bytes) else text
        file.attrs["model_config"] = text.replace('"name": "flat"', '"name": "../../../../flat"')
    before = {path for path in home.parent.rglob("*") if "workspace" not in path.parts}
    yaml(home, workspace="workspace/layers")
    done = run(home, "run")
    assert "Traceback" not in done.stderr
    assert {path for path in home.parent.rglob("*") if "workspace" not in path.parts} == before
