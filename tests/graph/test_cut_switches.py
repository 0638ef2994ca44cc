"""Branches whose condition is known, in the forms in which TensorFlow 1 wrote them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import tensorflow as tf
from graphs import V1, Made, image, normal, ops
from tensorflow.core.framework.graph_pb2 import GraphDef

from dnndk_prep.graph.rewrites.cut_switches import cut_switches
from dnndk_prep.graph.rewrites.set_constants import set_constants


@pytest.fixture(autouse=True)
def _tensorflow_1() -> Iterator[None]:
    V1.disable_control_flow_v2()
    yield
    V1.enable_control_flow_v2()


class Flagged:
    """A graph of x and flag with the output out: what it gives for a value of the flag, and after the cut."""

    def __init__(self, make: Callable[[tf.Tensor, tf.Tensor], object]) -> None:
        self.made = Made(lambda random: make(image(), V1.placeholder(tf.bool, [], name="flag")), x=(2, 6, 6, 3))

    def check(self, value: bool) -> GraphDef:
        self.made.feeds["flag"] = np.array(value)
        wanted = self.made.run(self.made.graph_def, ["out"])
        fixed = Made(lambda random: None)
        fixed.graph_def = set_constants(self.made.graph_def, {"flag": np.array(value)})
        fixed.feeds = {"x": self.made.feeds["x"]}
        result = fixed.check(cut_switches, "out").graph_def
        np.testing.assert_array_equal(fixed.run(result, ["out"])[0], wanted[0])
        return result


@pytest.mark.parametrize("value", [True, False])
def test_the_live_side_alone_stays(value: bool):
    def make(x, flag):
        tf.identity(V1.cond(flag, lambda: tf.nn.relu(x), lambda: tf.nn.tanh(x)), name="out")

    found = ops(Flagged(make).check(value))
    assert found["Relu" if value else "Tanh"] == 1
    assert not {"Switch", "Merge", "Tanh" if value else "Relu"} & set(found)


@pytest.mark.parametrize("value", [True, False])
def test_branches_within_branches_and_conditions_that_are_computed(value: bool):
    def make(x, flag):
        def inner():
            either = tf.logical_or(flag, tf.constant(False))
            return V1.cond(either, lambda: tf.nn.relu(x), lambda: x - 1.0)

        off = tf.logical_not(tf.logical_and(tf.identity(flag), tf.constant(True)))
        tf.identity(V1.cond(off, lambda: tf.nn.tanh(x), inner), name="out")

    found = ops(Flagged(make).check(value))
    assert not {"Switch", "Merge"} & set(found)
    assert ("Relu" in found) == value


def test_a_branch_on_data_stays():
    def make(x, flag):
        known = V1.cond(flag, lambda: tf.nn.relu(x), lambda: tf.nn.tanh(x))
        tf.identity(V1.cond(tf.reduce_sum(x) > 0.0, lambda: known * 2.0, lambda: known), name="out")

    found = ops(Flagged(make).check(False))
    assert found["Merge"] == 1
    assert found["Relu"] == 0


def test_which_branch_was_taken_becomes_a_constant():
    def make(x, flag):
        no, yes = tf.raw_ops.Switch(data=x, pred=flag)
        merged, which = tf.raw_ops.Merge(inputs=[tf.nn.relu(no), tf.nn.tanh(yes)])
        tf.add(merged, tf.cast(which, tf.float32), name="out")

    assert not {"Switch", "Merge"} & set(ops(Flagged(make).check(True)))


def test_several_outputs_of_a_dead_node_are_dead():
    def make(x, flag):
        def parts():
            return tf.add_n(tf.split(x, 3, axis=-1))

        tf.identity(V1.cond(flag, parts, lambda: x[..., :1]), name="out")

    assert ops(Flagged(make).check(False))["Split"] == 0
    assert ops(Flagged(make).check(True))["Split"] == 1


def test_loops_stay():
    def make(x, flag):
        start = V1.cond(flag, lambda: tf.nn.relu(x), lambda: x)
        end = V1.while_loop(lambda i, v: i < 3, lambda i, v: (i + 1, v * 1.5), [tf.constant(0), start])[1]
        tf.identity(end, name="out")

    found = ops(Flagged(make).check(True))
    assert found["NextIteration"] == 2
    assert found["Switch"] == 2


def test_a_graph_without_branches_is_the_same_object():
    made = Made(lambda random: tf.nn.relu(image() * normal(random, 3), name="out"), x=(2, 6, 6, 3))
    assert cut_switches(made.graph_def, frozenset(["out"])).graph_def is made.graph_def
