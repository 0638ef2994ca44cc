"""Names after layers, for graphs that TensorFlow 2 and Keras 3 named."""

from __future__ import annotations

import pytest
import tensorflow as tf
from graphs import V1
from tensorflow.core.framework.graph_pb2 import GraphDef

from dnndk_prep.graph.foreign import foreign_graph
from dnndk_prep.graph.foreign_names import layers_of
from dnndk_prep.graph.sources import GraphSource
from dnndk_prep.graph.topology import by_name
from dnndk_prep.graph.wanted import Wanted

# The version that TensorFlow 1.15 writes.
OLD = 134


def graph(names: list[str], producer: int | None = None) -> GraphDef:
    """Convolutions and activations in a row under these names; a producer as another TensorFlow would write it."""
    with tf.Graph().as_default() as made:
        x = V1.placeholder(tf.float32, [None, 4, 4, 2], name="image")
        for name in names:
            is_conv = "conv" in name.rpartition("/")[2].lower()
            # A name that ends in / stands for itself, also where a scope of the same name was opened before.
            kernel = tf.ones([1, 1, 2, 2], name=f"{name}/kernel/")
            x = tf.nn.conv2d(x, kernel, 1, "SAME", name=f"{name}/") if is_conv else tf.nn.relu(x, name=f"{name}/")
    graph_def = made.as_graph_def()
    if producer is not None:
        graph_def.versions.producer = producer
    return graph_def


def layers(graph_def: GraphDef, wanted: Wanted = Wanted()) -> list[str]:  # noqa: B008
    found = foreign_graph(GraphSource("g.pb", "graph", graph_def), wanted)
    return [node.name for node in found.graph_def.node if node.op in ("Conv2D", "Relu")]


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["functional_1/c_1/convolution", "functional_1/r_1/Relu"], ["c/Conv2D", "r/Relu"]),
        # Layers whose own names end in numbers, and a model that has a name.
        (["net_2/conv2d_1/convolution", "net_2/conv2d_1_1/convolution"], ["conv2d/Conv2D", "conv2d_1/Conv2D"]),
        # A layer that is called again, beside one that is called as the second call would be.
        (
            ["m/c_1/convolution", "m/c_3/convolution", "m/c_1_1/convolution"],
            ["c/Conv2D", "c_2/Conv2D", "c_1/Conv2D"],
        ),
        (["m/inner_1/c_1/convolution", "m/inner_1/r_1/Relu"], ["inner/c/Conv2D", "inner/r/Relu"]),
        # After / has become _ these would be one: the output has its name, the other a number.
        (["m/a_1/b_1/convolution", "m/a_b_1/convolution"], ["a/b/Conv2D_1", "a_b/Conv2D"]),
    ],
)
def test_keras_3_names(names: list[str], wanted: list[str]):
    assert layers(graph(names)) == wanted


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["model/conv2d_1/Conv2D", "model/relu_1/Relu"], ["conv2d_1/Conv2D", "relu_1/Relu"]),
        (["vgg/conv1/Conv2D", "vgg/conv1/Relu"], ["vgg/conv1/Conv2D", "vgg/conv1/Relu"]),
        (["conv1/Conv2D", "sequential/conv2/Conv2D"], ["conv1/Conv2D", "sequential/conv2/Conv2D"]),
    ],
)
def test_names_of_others_stay_but_for_the_scope_that_keras_makes(names: list[str], wanted: list[str]):
    assert layers(graph(names)) == wanted


def test_the_first_keras_numbered_its_layers_from_one():
    """Its layers are called conv2d_1 and dense_1, and TensorFlow 1 called the op convolution as well."""
    names = ["conv2d_1/convolution", "re_lu_1/Relu"]
    assert layers(graph(names, producer=OLD)) == names


def test_what_the_user_names_keeps_its_name():
    names = ["functional_1/c_1/convolution", "functional_1/r_1/Relu"]
    assert layers(graph(names), Wanted(outputs=["functional_1/r_1/Relu"])) == ["c/Conv2D", "functional_1/r_1/Relu"]


def test_what_layers_ends_belong_to():
    graph_def = graph(["prob/Relu", "block/logits", "prob/Relu_1"])
    nodes = by_name(graph_def)
    assert layers_of([nodes["prob/Relu"], nodes["block/logits"]]) == ("prob", "block/logits")
    # Two of one layer.
    assert layers_of([nodes["prob/Relu"], nodes["prob/Relu_1"]]) == ("prob/Relu", "prob/Relu_1")
