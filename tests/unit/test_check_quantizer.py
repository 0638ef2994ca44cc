"""What the check takes for quantized, against what vai_q_tensorflow (Vitis AI 3.5, TensorFlow 1.15) has quantized.

check_quantized.json has the nodes of networks that were made for this, without their weights, and the nodes behind
which the tool has put a FixNeuron for activations.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dnndk_prep.check.fusion import WEIGHTED, Group, group, producers
from dnndk_prep.check.network import Network, Op
from dnndk_prep.check.quantizer import in_float

CASES = json.loads(Path(__file__).with_name("check_quantized.json").read_text())
NOTHING = ("constant", "pass", "unread", "sizes")


def op_of(facts: dict) -> Op:
    shape = tuple(facts["shape"]) if "shape" in facts else None
    load = None
    if "value" in facts:
        value = np.array(facts["value"], facts["dtype"]).reshape(shape or ())
        load = lambda: value  # noqa: E731
    return Op(facts["name"], facts["op"], tuple(facts["inputs"]), facts.get("attrs", {}), facts["dtype"], shape, load)


def ends(network: Network, one: Group) -> Iterator[str]:
    """The nodes of the quantized graph that give the result: the tool puts a product behind an average pool."""
    op = network.ops[one.main]
    if one.kind in ("avg_pool", "global_pool"):
        yield f"{one.end}/mul"
        if one.kind == "global_pool" and not op.attrs.get("keep_dims"):
            yield f"{one.end}/squeeze"
    elif one.activation is not None and one.activation.kind == "hsigmoid":
        yield f"{one.end}/vitis_hard_sigmoid_mul"
    else:
        yield one.end


@pytest.mark.parametrize("name", CASES)
def test_the_same_nodes_are_quantized(name):
    case = CASES[name]
    network = Network(map(op_of, case["ops"]), case["inputs"], case["outputs"])
    groups = group(network)
    left, owner = in_float(network, groups, "tf1"), {node: one for one in groups for node in one.members}
    found = {one.main: one for one in groups if one.kind not in NOTHING and one.main not in left}
    # A layer has its input quantized whatever makes it.
    found |= {
        maker.main: maker for one in groups if one.kind in WEIGHTED for _, maker in producers(network, one, owner)
    }
    assert sorted(node for one in found.values() for node in ends(network, one)) == case["quantized"]
