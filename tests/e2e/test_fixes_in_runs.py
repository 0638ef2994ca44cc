"""What `optimize_for_inference.fixes` does in a run: measured, told in the report, and gone from the findings."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from dnndk_prep import cli
from dnndk_prep.graph.fix import FIXES, Fix

YAML = """
workspace: w
model: {path: awkward.keras}
dataset: {name: npz, path: data.npz}
preprocess: {scale: 1.0}
calibration: {path: calib.npz, count: 4, batch_size: 2}
target: {board: kv260, vitis_ai_tf2: false}
"""
MENDED = {
    "norm_before_add": "left_batch_norm",
    "early_relu": "standalone_relu",
    "clip": "relu_ceiling",
    "later_output": "output_on_pool",
    "cut_rescaling": "rescaling",
}


def awkward() -> keras.Model:
    image = layers.Input((12, 12, 3), name="image")
    x = layers.Rescaling(1 / 127.5, -1, name="scale")(image)
    x = layers.Concatenate(name="both")([layers.Conv2D(4, 3, name=name)(x) for name in ("left", "right")])
    x = layers.LeakyReLU(0.3, name="leaky")(layers.Conv2D(8, 3, name="conv")(layers.ReLU(name="late")(x)))
    x = layers.ReLU(1.0, name="one")(layers.Conv2D(8, 1, name="point")(x))
    x = layers.Add(name="sum")([layers.Conv2D(4, 1, name=name)(x) for name in ("a", "b")])
    x = layers.GlobalAveragePooling2D(name="gap")(layers.BatchNormalization(name="norm")(x))
    return keras.Model(image, x, name="awkward")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A run without fixes."""
    folder = tmp_path_factory.mktemp("run")
    keras.utils.set_random_seed(0)
    awkward().save(folder / "awkward.keras")
    x = np.random.default_rng(0).uniform(0, 255, (8, 12, 12, 3)).astype(np.float32)
    np.savez(folder / "data.npz", x_train=x, y_train=np.arange(8) % 4, x_test=x, y_test=np.arange(8) % 4)
    np.savez(folder / "calib.npz", image=x[:4])
    (folder / "pipeline.yaml").write_text(YAML)
    assert cli.main(["run", str(folder / "pipeline.yaml")]) == 0
    return folder


def run(folder: Path, *fixes: str) -> list[dict]:
    words = ["--set", f"optimize_for_inference.fixes=[{', '.join(fixes)}]"]
    assert cli.main(["run", str(folder / "pipeline.yaml"), *words]) == 0
    return facts_of(folder, "optimize_for_inference")["fixes"]


def facts_of(folder: Path, stage: str) -> dict:
    return json.loads((folder / "w" / stage / "stage.json").read_text())["facts"]


def findings(folder: Path) -> set[str]:
    (check,) = json.loads((folder / "w" / "dpu_check" / "check.json").read_text()).values()
    return {item["finding"] for item in check["findings"]}


def test_exact_fixes_keep_the_numbers_and_end_the_findings(folder):
    before = findings(folder)
    facts = run(folder, *MENDED)
    assert [item["fix"] for item in facts] == list(MENDED)
    for item in facts:
        assert item["exact"]
        assert item["max_abs_diff"] <= item["tolerance"]
        assert item["nodes"]
    assert before - findings(folder) >= {*MENDED.values(), "mean_after_norm"}
    report = (folder / "w" / "report" / "report.md").read_text()
    assert all(f"fix {name} against the graph without it" in report for name in MENDED)
    assert "--input_nodes scale/add " in (folder / "w" / "export" / "vitis_ai" / "quantize.sh").read_text()
    positions = json.loads((folder / "w" / "quantize" / "positions.json").read_text())["fix_neurons"]
    assert {"scale/add"} == {item["node"] for item in positions if item["node"].startswith(("image", "scale"))}


def test_what_an_inexact_fix_changes_is_measured(folder):
    (item,) = run(folder, "leaky_26_256")
    assert (item["exact"], item["nodes"], item["tolerance"]) == (False, ["leaky/LeakyRelu"], None)
    assert 1e-3 < item["max_abs_diff"] < 1
    assert (item["fed"], item["accuracy"]["images"]) == ("probe and 8 test images", 8)
    assert "optimize_for_inference, fix leaky_26_256 |" in (folder / "w" / "report" / "report.md").read_text()


def test_a_fix_without_anything_to_mend_says_so(folder, capsys):
    run(folder, "zero_bias")
    assert "the fix zero_bias found nothing to mend" in capsys.readouterr().out


def test_an_exact_fix_that_changes_numbers_is_none(folder, monkeypatch, capsys):
    monkeypatch.setitem(FIXES, "clip", Fix(FIXES["leaky_26_256"].change, exact=True))
    words = ["--set", "optimize_for_inference.fixes=[clip]", "--only", "optimize_for_inference"]
    assert cli.main(["run", str(folder / "pipeline.yaml"), *words]) == 4
    assert "the fix clip changes what the graph gives" in capsys.readouterr().err


def test_an_unknown_fix_is_a_mistake(folder, capsys):
    words = ["--set", "optimize_for_inference.fixes=[zero_bais]"]
    assert cli.main(["run", str(folder / "pipeline.yaml"), *words]) == 2
    assert "zero_bias" in capsys.readouterr().err
