"""Quantized graphs give the numbers that the quantizer itself computed.

The graphs in quantized/ have the nodes, FixNeurons and positions that vai_q_tensorflow (Vitis AI 3.5, TensorFlow 1.15)
chose for two small networks; beside them lie four images and what it gave for these.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from graphs import V1
from tensorflow.core.framework.graph_pb2 import GraphDef

from dnndk_prep import cli
from dnndk_prep.errors import ModelFileError
from dnndk_prep.graph.fix_neurons import without_fix_neurons
from dnndk_prep.graph.run import GraphRunner

QUANTIZED = Path(__file__).with_name("quantized")
OUTPUTS = {"conv_chain": "conv8/BiasAdd/aquant", "dead_channels": "fc/BiasAdd/aquant"}


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_quantized_graph_gives_what_the_quantizer_computed(name: str, tmp_path: Path):
    with np.load(QUANTIZED / f"{name}.npz") as stored:
        np.save(tmp_path / "x.npy", stored["x"])
        wanted = stored["y"]
    fetch, out = OUTPUTS[name], tmp_path / "y.npz"
    feed = f"image={tmp_path / 'x.npy'}"
    assert cli.main(["infer", str(QUANTIZED / f"{name}.pb"), "--feed", feed, "--fetch", fetch, "--out", str(out)]) == 0
    with np.load(out) as got:
        np.testing.assert_array_equal(got[fetch], wanted)


def test_inspect_lists_the_fix_neurons_with_their_shapes(capsys: pytest.CaptureFixture[str]):
    assert cli.main(["inspect", str(QUANTIZED / "conv_chain.pb")]) == 0
    told = capsys.readouterr().out
    assert "25 FixNeuron" in told
    assert "refused" not in told
    line = next(line for line in told.splitlines() if line.startswith("conv8/BiasAdd/aquant "))
    assert line.split(maxsplit=2)[1:] == ["FixNeuron", "float32 [?, 5, 5, 10]"]
    assert "aquant/steps" not in told


def fix_neuron(**settings: int) -> GraphDef:
    with tf.Graph().as_default() as graph:
        V1.placeholder(tf.float32, [None], name="x")
    graph_def = graph.as_graph_def()
    node = graph_def.node.add(name="y", op="FixNeuron", input=["x"])
    for key, value in settings.items():
        node.attr[key].i = value
    return graph_def


HALVES = [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5]
CLOSE = [np.nextafter(np.float32(0.5), np.float32(0)), -np.nextafter(np.float32(0.5), np.float32(0)), 0.0, 2.0**23 + 1]


@pytest.mark.parametrize(
    ("mode", "rounded"),
    [
        (0, [-3, -2, -1, 1, 2, 3]),
        (2, [-3, -2, -1, 1, 2, 3]),
        (1, [-2, -1, 0, 1, 2, 3]),
    ],
)
@pytest.mark.parametrize("position", [0, 5, -4, 127])
def test_the_rule_of_rounding(mode: int, rounded: list[int], position: int):
    """x is in steps of 2^-position; eight bits end at -128 and 127."""
    steps = np.array([*HALVES, *CLOSE, -128.4, -1000.0, 127.6, 1e30], np.float64)
    wanted = np.array([*rounded, 0, 0, 0, 127, -128, -128, 127, 127], np.float64)
    plain = without_fix_neurons(fix_neuron(bit_width=8, quantize_pos=position, mode=mode, phase=1), "g.pb")
    with GraphRunner(plain, ["y"]) as runner:
        (got,) = runner.run({"x": (steps * 2.0**-position).astype(np.float32)})
    if position == 127:
        # The position of what is 0 throughout: its steps are below the smallest float that is not rounded to 0.
        assert np.abs(got).max() <= 128 * 2.0**-127
    else:
        np.testing.assert_array_equal(got, (wanted * 2.0**-position).astype(np.float32))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"bit_width": 8, "quantize_pos": 3}, "no mode"),
        ({"bit_width": 8, "quantize_pos": 3, "mode": 1, "phase": 0}, "phase 0"),
        ({"bit_width": 8, "quantize_pos": -(2**31), "mode": 1, "phase": 1}, "position -2147483648"),
        ({"bit_width": 8, "quantize_pos": 3, "mode": 7, "phase": 1}, "mode 7"),
        ({"bit_width": 0, "quantize_pos": 3, "mode": 0, "phase": 1}, "0 bits"),
    ],
)
def test_what_is_not_told_is_refused(settings: dict[str, int], told: str):
    with pytest.raises(ModelFileError, match=r"FixNeuron y of g\.pb") as refused:
        without_fix_neurons(fix_neuron(**settings), "g.pb")
    assert told in str(refused.value.found)


def test_a_graph_without_fix_neurons_stays_itself():
    graph_def = GraphDef()
    assert without_fix_neurons(graph_def, "g.pb") is graph_def


def test_a_quantized_graph_is_no_model_to_begin_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "p.yaml").write_text(f"model: {{path: {QUANTIZED / 'conv_chain.pb'}}}\n")
    assert cli.main(["run", str(tmp_path / "p.yaml"), "--to", "freeze_graph"]) == 3
    assert "from before the tool that put this op in" in capsys.readouterr().err
