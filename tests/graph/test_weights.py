"""Constants that lie apart: the same graph, the same bytes, the same results."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef

from dnndk_prep.graph.artifact import serialize
from dnndk_prep.graph.rewrites.fold_constants import fold_constants
from dnndk_prep.graph.run import GraphRunner
from dnndk_prep.graph.weights import ALIGNMENT, constant, pieces, read, room, stand_ins, value_of, weights_apart, whole

KERNEL = np.random.default_rng(0).normal(size=(256, 128)).astype(np.float32)
SMALL = np.arange(3, dtype=np.float32)


def dense() -> GraphDef:
    """x -> MatMul by a large constant -> Add a small one."""
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, [None, 256], name="x")
        kernel = tf.constant(KERNEL, name="kernel")
        tf.add(tf.matmul(x, kernel, name="product"), tf.constant(1.5, name="one"), name="y")
    return graph.as_graph_def()


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "graph.pb"
    path.write_bytes(serialize(dense()))
    return path


def written(graph_def: GraphDef) -> bytes:
    return b"".join(bytes(piece) for piece in pieces(graph_def))


def test_a_graph_is_read_without_its_weights_and_written_with_them(file):
    with weights_apart():
        graph_def = read(file)
        assert graph_def.ByteSize() < 2000
        assert list(stand_ins(graph_def)[1]) == ["kernel:0"]
        assert written(graph_def) == file.read_bytes()
        assert whole(graph_def) == dense()


def test_outside_nothing_lies_apart(file):
    assert read(file) == dense()
    graph_def, feeds = stand_ins(read(file))
    assert list(graph_def.node) == list(dense().node)
    assert feeds == {}
    assert written(dense()) == file.read_bytes()


def test_both_give_the_same(file):
    feeds = {"x": np.random.default_rng(1).normal(size=(4, 256)).astype(np.float32)}
    with GraphRunner(dense(), ["y"]) as runner:
        wanted = runner.run(feeds)[0]
    with weights_apart(), GraphRunner(read(file), ["y"]) as runner:
        got = runner.run(feeds)[0]
    assert np.array_equal(got, wanted)


def test_a_constant_made_here_is_aligned_and_cannot_be_written_to():
    with weights_apart():
        node = constant("kernel", KERNEL.T)
        value = value_of(node)
        assert np.array_equal(value, KERNEL.T)
        assert value.ctypes.data % ALIGNMENT == 0
        with pytest.raises(ValueError, match="read-only"):
            value[0, 0] = 1
        assert np.array_equal(value_of(constant("small", SMALL)), SMALL)
        graph_def = GraphDef(node=[node])
        assert value_of(GraphDef.FromString(written(graph_def)).node[0]).tolist() == KERNEL.T.tolist()


def test_what_is_computed_of_weights_is_computed_of_their_numbers():
    with weights_apart():
        graph_def = GraphDef(node=[constant("kernel", KERNEL), constant("order", np.array([1, 0], np.int32))])
        moved = graph_def.node.add(name="moved", op="Transpose", input=["kernel", "order"])
        moved.attr["T"].type, moved.attr["Tperm"].type = tf.float32.as_datatype_enum, tf.int32.as_datatype_enum
        folded = {node.name: node for node in fold_constants(graph_def, frozenset(["moved"])).graph_def.node}
        assert folded["moved"].op == "Const"
        assert np.array_equal(value_of(folded["moved"]), KERNEL.T)


def test_room_holds_any_shape():
    for shape in ((), (0, 4), (3, 5)):
        assert room(shape, np.dtype(np.float64)).shape == shape
