"""Listing and changing the names in a graph."""

from __future__ import annotations

import pytest
import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef

from dnndk_prep.errors import StageError, UsageError
from dnndk_prep.graph.names import Found, op_names_text, rename, tensor_specs

V1 = tf.compat.v1


@pytest.fixture
def graph_def() -> GraphDef:
    graph = tf.Graph()
    with graph.as_default():
        x = V1.placeholder(tf.float32, [None, 8, 8, 3], name="image")
        flag = V1.placeholder(tf.int32, [2], name="flag")
        kernel = V1.get_variable("conv/kernel", [3, 3, 3, 4], use_resource=True)
        y = tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "SAME", name="conv/Conv2D"), name="conv/Relu")
        tf.identity(y, name="result")
        tf.split(tf.cast(flag, tf.float32), 2, name="parts")
        V1.global_variables_initializer()
        V1.train.Saver()
    return graph.as_graph_def()


def test_the_listing(graph_def: GraphDef) -> None:
    lines = op_names_text(graph_def, [Found("image", "first layer")], [Found("conv/Relu", "last layer")]).splitlines()
    assert lines[0].split() == ["input", "image", "float32", "[?,", "8,", "8,", "3]", "(first", "layer)"]
    assert lines[1].startswith("output  conv/Relu")
    assert "float32 [?, 8, 8, 4]  (last layer)" in lines[1]
    body = lines[4:]
    assert [line.removeprefix("input").removeprefix("output").split()[0] for line in body] == [
        node.name for node in graph_def.node
    ]
    assert any(line.split() == ["input", "image", "Placeholder", "float32", "[?,", "8,", "8,", "3]"] for line in body)
    assert any("VarHandleOp" in line and "variable of float32 [3, 3, 3, 4]" in line for line in body)
    assert any("parts " in line and "float32 [1], float32 [1]" in line for line in body)


def test_rename_reaches_every_reader(graph_def: GraphDef) -> None:
    renamed = rename(graph_def, {"image": "data/in", "conv/Relu": "prob"})
    names = {node.name for node in renamed.node}
    assert {"data/in", "prob"} <= names
    assert not {"image", "conv/Relu"} & names
    assert next(node for node in renamed.node if node.name == "result").input == ["prob"]
    assert tensor_specs(renamed, ["prob"])[0].shape == (None, 8, 8, 4)
    assert {node.name for node in graph_def.node} >= {"image", "conv/Relu"}


@pytest.mark.parametrize(
    ("new_names", "text"),
    [
        ({"imag": "x"}, r"(?s)no node 'imag'.*image"),
        ({"image": "flag"}, "a name that is taken"),
        ({"image": "x", "flag": "x"}, "a name that is taken"),
        ({"image": "bad name"}, "bad name"),
        ({"image": ""}, "cannot be renamed"),
    ],
)
def test_names_that_cannot_be(graph_def: GraphDef, new_names: dict[str, str], text: str) -> None:
    with pytest.raises((StageError, UsageError), match=text):
        rename(graph_def, new_names)


def test_names_may_be_swapped(graph_def: GraphDef) -> None:
    swapped = rename(graph_def, {"image": "flag", "flag": "image"})
    assert next(node for node in swapped.node if node.name == "conv/Conv2D").input[0] == "flag"


def test_specs(graph_def: GraphDef) -> None:
    spec = tensor_specs(graph_def, ["flag"])[0]
    assert (spec.name, spec.shape, spec.dtype) == ("flag", (2,), "int32")
    with pytest.raises(StageError, match="flagg"):
        tensor_specs(graph_def, ["flagg"])
