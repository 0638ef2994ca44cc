"""The tutorials, as a newcomer follows them: the commands of each page, in its order, in a copy of its folder."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from dnndk_prep.config_file import load_config
from dnndk_prep.export.saved_model import run_saved_model
from dnndk_prep.graph.artifact import GraphArtifact

DOCS = Path(__file__).parents[2] / "docs"
TUTORIALS = ("sign", "fashion", "text")


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The copies of the folders, after the commands of their pages."""
    folders = {}
    for name in TUTORIALS:
        folders[name] = tmp_path_factory.mktemp("tutorials") / name
        shutil.copytree(DOCS / "tutorials" / name, folders[name])
        for command in commands(DOCS / "tutorials" / name / "README.md"):
            done = subprocess.run(command, cwd=folders[name], capture_output=True, text=True, stdin=subprocess.DEVNULL)
            assert done.returncode == 0, f"{command}: {done.stderr[-2000:]}"
    return folders


def commands(page: Path) -> list[list[str]]:
    """The lines of the page's code blocks, with the programs beside the Python of the tests."""
    blocks = re.findall(r"^```\n(.*?)^```$", page.read_text(), flags=re.M | re.S)
    words = [shlex.split(line) for block in blocks for line in block.splitlines()]
    assert len(words) >= 2
    return [[str(Path(sys.executable).parent / program), *rest] for program, *rest in words]


def facts(workspace: Path, stage: str) -> dict[str, Any]:
    return json.loads((workspace / stage / "stage.json").read_text())["facts"]


@pytest.mark.parametrize(
    ("name", "workspace", "top1"),
    [
        ("sign", "workspace", 1.0),
        ("fashion", "workspace_ffnn", 0.8),
        ("fashion", "workspace_cnn", 0.8),
        ("text", "workspace", 0.9),
    ],
)
def test_no_stage_changes_what_was_learnt(name: str, workspace: str, top1: float, followed: dict[str, Path]):
    found = set()
    for stage in ("keras_2_tf", "freeze_graph", "optimize_for_inference"):
        proof = facts(followed[name] / workspace, stage)["proof"]
        assert proof["test"]["max_abs_diff"] <= 1e-5
        found.add(proof["accuracy"]["top1"])
    assert len(found) == 1
    assert found.pop() >= top1


def test_the_sign_of_ten_numbers(followed: dict[str, Path]):
    numbers = np.array([range(1, 11), range(-10, 0)], np.float32)
    saved = followed["sign"] / "workspace" / "export" / "saved_model" / "sign" / "1"
    got = run_saved_model(saved, ["serve"], "serving_default", {"numbers": numbers})["probabilities"]
    assert got.argmax(-1).tolist() == [1, 0]


def test_both_fashion_models_have_one_signature(followed: dict[str, Path]):
    folders = [
        followed["fashion"] / f"workspace_{name}" / "export" / "saved_model" / "fashion" / version
        for name, version in (("ffnn", "1"), ("cnn", "2"))
    ]
    metas = [SavedModel.FromString((folder / "saved_model.pb").read_bytes()).meta_graphs[0] for folder in folders]
    assert metas[0].signature_def == metas[1].signature_def
    assert metas[0].meta_info_def.tags == metas[1].meta_info_def.tags == ["serve"]
    signature = metas[0].signature_def["serving_default"]
    assert {key: info.name for key, info in signature.inputs.items()} == {
        "pixels": "input_input:0",
        "keras_learning_phase": "keras_learning_phase:0",
    }
    assert {key: info.name for key, info in signature.outputs.items()} == {"probabilities": "output/Softmax:0"}
    for folder in folders:
        assert (folder / "assets" / "labels.txt").read_text().splitlines()[1] == "Trouser"


def test_the_text_classifier_runs_by_its_new_names(followed: dict[str, Path]):
    workspace = followed["text"] / "workspace"
    graph = GraphArtifact.load(workspace / "optimize_for_inference")
    assert (graph.input_names, graph.output_names) == (["words"], ["opinion"])
    assert not graph.graph_def.library.function
    good, bad = np.zeros((2, 1, 80), np.float32)
    good[0, -30:], bad[0, -30:] = np.arange(13, 43), np.arange(43, 73)
    loaded = tf.saved_model.load(str(workspace / "export" / "saved_model" / "reviews" / "1"))
    opinion = loaded.signatures["serving_default"](words=tf.constant(np.concatenate([good, bad])))["opinion"].numpy()
    assert opinion.argmax(-1).tolist() == [1, 0]


def test_the_yaml_on_the_pages_is_right(tmp_path: Path):
    """Every block of YAML of the how-tos is a part of a configuration, or the map of ckpt2keras."""
    for page in sorted((DOCS / "how-to").glob("*.md")):
        for block in re.findall(r"^```yaml\n(.*?)^```$", page.read_text(), flags=re.M | re.S):
            if page.name != "ckpt2keras.md":
                (tmp_path / "p.yaml").write_text(block)
                load_config(tmp_path / "p.yaml")


def test_links_on_the_pages_lead_somewhere():
    for page in [*DOCS.glob("how-to/*.md"), *DOCS.glob("tutorials/*/README.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page}: {target}"
