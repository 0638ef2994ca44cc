"""What the vendor's tool chose, to the last position; and what its quantized graphs give."""

from __future__ import annotations

import numpy as np
import pytest
from measured import CASES, case, quantized

from dnndk_prep.graph.fix_neurons import without_fix_neurons
from dnndk_prep.graph.run import GraphRunner
from dnndk_prep.quant.fixed import readers
from dnndk_prep.quant.network import by_name, to_graph_def
from dnndk_prep.quant.simulation import Simulation


@pytest.mark.parametrize("name", CASES)
def test_nodes_in_their_order(name: str):
    wanted = [(item["name"], item["op"], tuple(item["inputs"])) for item in case(name).facts["quantized_graph"]]
    assert [(item.name, item.op, item.inputs) for item in quantized(name).nodes] == wanted


@pytest.mark.parametrize("name", CASES)
def test_fix_neurons_and_positions(name: str):
    made = quantized(name)
    nodes = by_name(made.nodes)
    got = {
        fix: (
            *(nodes[fix].attrs[key].i for key in ("mode", "method", "bit_width", "quantize_pos")),
            seen.position,
            dict(seen.counts),
            sorted(readers(made.nodes, fix)),
        )
        for fix, seen in made.seen.items()
    }
    assert got == {
        f"{item['node']}/{item['kind']}": (
            *(item[key] for key in ("mode", "method", "bit_width", "position", "position_calibrated")),
            {int(position): count for position, count in item["batch_positions"].items()},
            sorted(item["consumers"]),
        )
        for item in case(name).facts["fix_neurons"]
    }


@pytest.mark.parametrize("name", CASES)
def test_outputs(name: str):
    one, made = case(name), quantized(name)
    feeds = one.arrays("eval.npz", "x")
    with np.load(one.folder / "eval.npz") as stored:
        wanted = [stored[key] for key in stored.files if key == "y_quant" or key.startswith("y_quant_out")]
    with Simulation(made.nodes, one.outputs) as simulation:
        for got, want in zip(simulation.outputs(feeds), wanted, strict=True):
            np.testing.assert_array_equal(got, want)
    # The same with TensorFlow's own ops.
    stock = without_fix_neurons(to_graph_def(made.nodes), name)
    with GraphRunner(stock, made.plan.ends) as runner:
        for got, want in zip(runner.run(feeds), wanted, strict=True):
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("name", [name for name in CASES if (case(name).folder / "folded_weights.npz").exists()])
def test_folded_weights(name: str):
    values = {}
    for item in quantized(name).nodes:
        if item.value is not None:
            values["/".join(part for part in item.name.split("/") if "__cf__" not in part)] = item.value
    with np.load(case(name).folder / "folded_weights.npz") as stored:
        assert stored.files
        for key in stored.files:
            np.testing.assert_allclose(values[key], stored[key], rtol=1e-6, atol=1e-12, err_msg=key)
