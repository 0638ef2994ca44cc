"""The stage `quantize` on small graphs: its facts, what it refuses, and what it leaves out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from nets import Net

from dnndk_prep.config import Config
from dnndk_prep.errors import StageError
from dnndk_prep.graph.artifact import GraphArtifact, TensorSpec
from dnndk_prep.quant.network import to_graph_def
from dnndk_prep.stages import quantize
from dnndk_prep.stages.context import StageContext

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.normal(0.5, 0.2, (30, 8, 8, 4)).astype(np.float32)
LABELS = RANDOM.integers(0, 4, 30)
Make = Callable[..., StageContext]


def classifier(loop: bool = False, rescaled: bool = False) -> GraphArtifact:
    net = Net()
    image = net.op("Mul", "scaled", "x", net.const("half", 0.5)) if rescaled else "x"
    net.op("Relu", "r", net.biased("c", image))
    net.mean("m", "r", keep_dims=False)
    net.op("Softmax", "prob", "m")
    graph_def = to_graph_def(net.nodes)
    if loop:
        graph_def.node.add(name="rnn/while/LoopCond", op="LoopCond", input=["x"])
    image, prob = TensorSpec("x", (None, 8, 8, 4), "float32"), TensorSpec("prob", (None, 4), "float32")
    return GraphArtifact(graph_def, (image,), (prob,), "1.15")


@pytest.fixture
def context(tmp_path: Path) -> Make:
    """Makes the context of the stage, for calibration arrays and a configuration."""

    def make(
        arrays: np.ndarray,
        settings: dict | None = None,
        listed: int | None = None,
        loop: bool = False,
        rescaled: bool = False,
    ) -> StageContext:
        folders = {name: tmp_path / name for name in ("optimize_for_inference", "calib_input", "out")}
        for folder in folders.values():
            folder.mkdir()
        classifier(loop, rescaled).save(folders["optimize_for_inference"], "optimized_graph.pb")
        np.savez(folders["calib_input"] / "calib.npz", x=arrays)
        if listed is not None:
            (folders["calib_input"] / "calib_list.txt").write_text("a.png\n" * listed)
        np.savez(tmp_path / "data.npz", x_train=IMAGES, y_train=LABELS, x_test=IMAGES, y_test=LABELS)
        given = {
            "model": {"path": "m.h5"},
            "dataset": {"name": "npz", "path": str(tmp_path / "data.npz")},
            "calibration": {"count": 20, "batch_size": 5},
            **(settings or {}),
        }
        told: list[str] = []
        return StageContext(Config.model_validate(given), folders, folders["out"], tmp_path, told.append)

    return make


def test_facts_and_files(context: Make):
    ctx = context(IMAGES[:20], {"quantize": {"method": 0}})
    facts = quantize.run(ctx)
    names = {
        "positions.json",
        "quantize_eval_model.pb",
        "quantize_eval_model_stock.pb",
        "layer_error.csv",
        "graph.json",
    }
    assert {path.name for path in ctx.out.iterdir()} == names | {"dump"}
    assert facts["fix_neurons"] == 7
    assert facts["flags"] == {"method": 0}
    assert {name: found["images"] for name, found in facts["accuracy"].items()} == {"float": 30, "vendor": 30}
    assert 0 <= facts["accuracy"]["vendor"]["top1"] <= 1
    assert len(facts["worst"]) == 5
    assert facts["warnings"] == []
    # They become JSON.
    json.dumps(facts, allow_nan=False)
    stored = json.loads((ctx.out / "positions.json").read_text())
    # Four full batches of five.
    assert sum(stored["fix_neurons"][0]["batch_positions"].values()) == 4


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: x * np.nan, "not finite"),
        (lambda x: x * 0, "zero throughout"),
        (lambda x: x[:15], "fewer calibration examples"),
    ],
)
def test_calibration_data_that_mean_nothing_stop_the_stage(change, words: str, context: Make):
    with pytest.raises(StageError, match=words):
        quantize.run(context(change(IMAGES[:20])))


def test_a_list_that_is_shorter_than_the_arrays_stops_the_stage(context: Make):
    with pytest.raises(StageError, match=r"calib_list\.txt is short"):
        quantize.run(context(IMAGES[:20], listed=12))


@pytest.mark.parametrize("change", [lambda x: x * 255, lambda x: x / 255, lambda x: x - 3])
def test_data_of_the_users_own_are_held_against_the_training_data(change, context: Make, tmp_path: Path):
    own = {"calibration": {"path": str(tmp_path / "own.npz"), "count": 20, "batch_size": 5}}
    with pytest.raises(StageError, match="not preprocessed") as caught:
        quantize.run(context(change(IMAGES[:20]), own))
    assert caught.value.code == "K2D-0010"


def test_data_of_the_users_own_that_are_alike_pass(context: Make, tmp_path: Path):
    own = {"calibration": {"path": str(tmp_path / "own.npz"), "count": 20, "batch_size": 5}}
    other = np.clip(IMAGES[:20] * 1.5 - 0.1, 0, 1)
    assert quantize.run(context(other, own))["fix_neurons"] == 7


def test_what_no_dpu_takes_is_left_out_with_the_reason(context: Make):
    ctx = context(IMAGES[:20], loop=True)
    facts = quantize.run(ctx)
    assert facts["fix_neurons"] == 0
    assert "recurrent layers" in facts["warnings"][0]
    assert not list(ctx.out.iterdir())


def test_behind_a_rescaling_that_is_cut_the_image_is_fed_all_the_same(context: Make):
    ctx = context(IMAGES[:20], {"optimize_for_inference": {"fixes": ["cut_rescaling"]}}, rescaled=True)
    assert quantize.run(ctx)["fix_neurons"] == 7
    stored = json.loads((ctx.out / "positions.json").read_text())
    nodes = {item["node"]: item for item in stored["fix_neurons"]}
    assert "x" not in nodes
    assert nodes["scaled"]["range"] == pytest.approx([IMAGES[:20].min() / 2, IMAGES[:20].max() / 2])
    assert [item["name"] for item in json.loads((ctx.out / "graph.json").read_text())["inputs"]] == ["x"]


def test_nothing_without_bundles(context: Make):
    assert quantize.run(context(IMAGES[:20], {"target": {"bundles": False}})) == {"fix_neurons": 0}
