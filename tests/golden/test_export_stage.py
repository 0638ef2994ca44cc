"""The stage `export` on a small graph: which bundles it writes, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from dnndk_prep.config import Config
from dnndk_prep.errors import NumericsError, StageError
from dnndk_prep.export import bundle
from dnndk_prep.graph.artifact import GraphArtifact, TensorSpec
from dnndk_prep.stages import export
from dnndk_prep.stages.context import StageContext

INPUT_FN = """
import os
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
DATA = np.load(os.path.join(HERE, "calib.npz"))["{key}"]

def calib_input(iter):
    return {{"{name}": DATA[iter * 3 : iter * 3 + 3]}}
"""


@pytest.fixture
def context(tmp_path):
    """Makes the context of the stage: `context(board, toolchain, name=...)`."""

    def make(board: str, toolchain: str | None = None, name: str = "image", model: str | None = None) -> StageContext:
        graph_dir, calib_dir, out = tmp_path / "graph", tmp_path / "calib", tmp_path / "out"
        for folder in (graph_dir, calib_dir, out):
            folder.mkdir()
        small_graph().save(graph_dir, "optimized_graph.pb")
        np.savez(calib_dir / "calib.npz", image=np.linspace(1, -1, 10 * 4, dtype=np.float32).reshape(10, 4))
        (calib_dir / "input_fn.py").write_text(INPUT_FN.format(key="image", name=name))
        cfg = Config.model_validate({"target": {"board": board, "toolchain": toolchain}})
        train_dir = tmp_path / "train"
        train_dir.mkdir()
        if model:
            (train_dir / "source.json").write_text(json.dumps({"files": [{"name": model}]}))
        inputs = {"train_save": train_dir, "optimize_for_inference": graph_dir, "calib_input": calib_dir}
        return StageContext(cfg, inputs, out, tmp_path, lambda text: None)

    return make


def small_graph() -> GraphArtifact:
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, [None, 4], name="image")
        tf.nn.relu(tf.linalg.matmul(x, tf.constant(np.eye(4, dtype=np.float32))), name="out")
    image, out = TensorSpec("image", (None, 4), "float32"), TensorSpec("out", (None, 4), "float32")
    return GraphArtifact(graph.as_graph_def(), (image,), (out,), "1.15")


@pytest.mark.parametrize(
    ("board", "toolchain", "readers"),
    [
        ("zcu104", None, {"dnndk": "1.12", "vitis_ai": "1.15"}),
        ("zcu102", "dnndk-3.0", {"dnndk": "1.9", "vitis_ai": "1.15"}),
        ("KV260", "vitis-ai-2.0", {"vitis_ai": "1.15"}),
        ("ZedBoard", None, {"dnndk": "1.12"}),
    ],
)
def test_one_bundle_a_family_at_its_readers_level(board, toolchain, readers, context):
    ctx = context(board, toolchain)
    facts = export.run(ctx)
    assert {path.name for path in ctx.out.iterdir()} == set(readers)
    assert {item["folder"]: item["reader"] for item in facts["bundles"]} == readers
    for item in facts["bundles"]:
        assert GraphArtifact.load(ctx.out / item["folder"]).reader == item["reader"]
        assert item["max_abs_diff"] <= item["tolerance"]
        # Ten samples in batches of three.
        assert (item["calib_iter"], item["batch_size"]) == (3, 3)


def test_the_network_is_named_after_the_models_file(context):
    facts = export.run(context("zedboard", model="/data/my net-2.h5"))
    assert facts["bundles"][0]["net_name"] == "my_net_2"


def test_nothing_in_the_bundle_names_this_machine(context):
    ctx = context("zcu104")
    export.run(ctx)
    for path in ctx.out.rglob("*"):
        if path.is_file():
            assert str(ctx.scratch).encode() not in path.read_bytes(), path
    json.loads((ctx.out / "vitis_ai" / "arch.json").read_text())


def test_an_input_fn_for_other_inputs_is_refused(context):
    with pytest.raises(StageError, match="does not feed the inputs"):
        export.run(context("zcu104", name="input_1"))


@pytest.mark.parametrize("factor", [1.001, float("nan")])
def test_other_numbers_after_lowering_fail(factor, context, monkeypatch):
    def wrong(graph_def, reader, keep):
        changed = type(graph_def)()
        changed.CopyFrom(graph_def)
        weights = next(node for node in changed.node if node.op == "Const")
        weights.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(np.eye(4, dtype=np.float32) * np.float32(factor)))
        return changed

    monkeypatch.setattr(bundle, "for_reader", wrong)
    ctx = context("zcu104")
    with pytest.raises(NumericsError, match=r"dnndk-3\.1"):
        export.run(ctx)
    assert not list(Path(ctx.out).iterdir())
