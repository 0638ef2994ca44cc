"""Variables to constants."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef

from dnndk_prep.errors import StageError
from dnndk_prep.graph.artifact import serialize
from dnndk_prep.graph.freeze import MAX_BYTES, freeze
from dnndk_prep.graph.run import GraphRunner
from dnndk_prep.graph.saver import SavedVariable, saver_def, saver_nodes

V1 = tf.compat.v1
IMAGE = np.random.default_rng(0).random((2, 4), np.float32)


class Built:
    """A graph with variables, their values, and what it computes."""

    def __init__(self, make, feeds: dict[str, np.ndarray], folder: Path) -> None:
        graph = tf.Graph()
        with graph.as_default(), V1.Session(graph=graph) as session:
            result = make()
            saver = V1.train.Saver()
            session.run(V1.global_variables_initializer())
            # The graph of freeze_graph's user: with Saver, initializers and assignments.
            self.graph_def = graph.as_graph_def()
            variables = V1.global_variables()
            self.variables = dict(zip([v.op.name for v in variables], session.run(variables), strict=True))
            self.checkpoint = saver.save(session, str(folder / "ckpt"), write_meta_graph=False)
            self.wanted = session.run(result, {f"{name}:0": value for name, value in feeds.items()})
        self.output = result.op.name
        self.feeds = feeds

    def freeze(self, **options) -> GraphDef:
        return freeze(self.graph_def, self.variables, [self.output], **options)

    def check(self, graph_def: GraphDef) -> None:
        with GraphRunner(graph_def, [self.output]) as runner:
            np.testing.assert_array_equal(runner.run(self.feeds)[0], self.wanted)


def dense(use_resource: bool):
    def make() -> tf.Tensor:
        x = V1.placeholder(tf.float32, [None, 4], name="x")
        with V1.variable_scope("fc", use_resource=use_resource), tf.device("/device:CPU:0"):
            kernel = V1.get_variable("kernel", [4, 3])
            bias = V1.get_variable("bias", [3], initializer=V1.ones_initializer())
            V1.get_variable("unused", [7])
            return tf.nn.relu(tf.matmul(x, kernel) + bias, name="out")

    return make


@pytest.fixture(params=[True, False], ids=["resource", "reference"])
def fc(request: pytest.FixtureRequest, tmp_path: Path) -> Built:
    return Built(dense(request.param), {"x": IMAGE}, tmp_path)


def ops(graph_def: GraphDef) -> dict[str, str]:
    return {node.name: node.op for node in graph_def.node}


def test_same_numbers_and_nothing_but_what_the_output_needs(fc: Built) -> None:
    frozen = fc.freeze()
    fc.check(frozen)
    found = ops(frozen)
    assert found["fc/kernel"] == found["fc/bias"] == "Const"
    assert "fc/unused" not in found
    assert set(found.values()) == {"Placeholder", "Const", "Identity", "MatMul", "AddV2", "Relu"}
    assert not any(node.device for node in frozen.node)
    assert not any(key.startswith("_") for node in frozen.node for key in node.attr)


def test_large_constants_are_plain_bytes(fc: Built) -> None:
    kernel = next(node for node in fc.freeze().node if node.name == "fc/kernel")
    assert kernel.attr["value"].tensor.tensor_content == fc.variables["fc/kernel"].tobytes()


def test_devices_stay_where_they_are_asked_for(fc: Built) -> None:
    found = {node.name: node.device for node in fc.freeze(clear_devices=False).node}
    assert found["out" if "out" in found else "fc/out"] == "/device:CPU:0"


def test_every_node_stands_after_its_inputs_and_the_bytes_do_not_change(fc: Built) -> None:
    frozen = fc.freeze()
    seen: set[str] = set()
    for node in frozen.node:
        assert {reference.split(":")[0].lstrip("^") for reference in node.input} <= seen
        seen.add(node.name)
    shuffled = GraphDef()
    shuffled.CopyFrom(fc.graph_def)
    assert serialize(freeze(shuffled, dict(reversed(fc.variables.items())), [fc.output])) == serialize(frozen)


def test_kept_variables_load_from_the_checkpoint(fc: Built) -> None:
    frozen = fc.freeze(keep_vars=["fc/kernel"])
    found = ops(frozen)
    assert found["fc/kernel"] in ("VarHandleOp", "VariableV2")
    assert found["fc/bias"] == "Const"
    graph = tf.Graph()
    with graph.as_default(), V1.Session(graph=graph) as session:
        tf.graph_util.import_graph_def(frozen, name="")
        session.run("save/restore_all", {"save/Const:0": fc.checkpoint})
        np.testing.assert_array_equal(session.run(f"{fc.output}:0", {"x:0": IMAGE}), fc.wanted)


def test_what_is_kept_can_be_saved_again(fc: Built, tmp_path: Path) -> None:
    graph = tf.Graph()
    with graph.as_default(), V1.Session(graph=graph) as session:
        tf.graph_util.import_graph_def(fc.freeze(keep_vars=["fc/kernel"]), name="")
        session.run("save/restore_all", {"save/Const:0": fc.checkpoint})
        session.run("save/control_dependency:0", {"save/Const:0": str(tmp_path / "again")})
    again = tf.train.load_checkpoint(str(tmp_path / "again"))
    assert list(again.get_variable_to_shape_map()) == ["fc/kernel"]
    np.testing.assert_array_equal(again.get_tensor("fc/kernel"), fc.variables["fc/kernel"])


def test_unknown_names_are_answered_with_the_nearest(fc: Built) -> None:
    with pytest.raises(StageError, match=r"(?s)no variable 'fc/kernl'.*fc/kernel"):
        fc.freeze(keep_vars=["fc/kernl"])
    with pytest.raises(StageError, match=r"(?s)no node 'fc/oot'"):
        freeze(fc.graph_def, fc.variables, ["fc/oot"])


def test_a_variable_without_a_value_or_with_a_wrong_one(fc: Built) -> None:
    with pytest.raises(StageError, match="fc/bias"):
        freeze(fc.graph_def, {"fc/kernel": fc.variables["fc/kernel"]}, [fc.output])
    wrong = {**fc.variables, "fc/bias": np.zeros(5, np.float32)}
    with pytest.raises(StageError, match=r"(?s)fc/bias does not fit.*\(5,\)"):
        freeze(fc.graph_def, wrong, [fc.output])


def test_too_large_for_a_file(fc: Built) -> None:
    huge = np.broadcast_to(np.float32(0), (MAX_BYTES // 4 + 1,))
    with pytest.raises(StageError, match="keep_vars"):
        freeze(fc.graph_def, {**fc.variables, "fc/kernel": huge}, [fc.output])


def test_an_unused_input_stays(tmp_path: Path) -> None:
    def make() -> tf.Tensor:
        V1.placeholder(tf.float32, [None, 2], name="spare")
        return dense(True)()

    built = Built(make, {"x": IMAGE}, tmp_path)
    assert "spare" not in ops(built.freeze())
    assert ops(built.freeze(inputs=["spare", "x"]))["spare"] == "Placeholder"


def test_gather(tmp_path: Path) -> None:
    def make() -> tf.Tensor:
        ids = V1.placeholder(tf.int32, [None, 3], name="ids")
        table = V1.get_variable("table", [5, 2], use_resource=True)
        return tf.identity(tf.nn.embedding_lookup(table, ids), name="out")

    built = Built(make, {"ids": np.array([[0, 4, 2], [1, 1, 3]], np.int32)}, tmp_path)
    assert "ResourceGather" in ops(built.graph_def).values()
    built.check(built.freeze())


def test_a_loop_that_reads_a_variable(tmp_path: Path) -> None:
    def make() -> tf.Tensor:
        x = V1.placeholder(tf.float32, [None, 4], name="x")
        square = V1.get_variable("square", [4, 4], use_resource=True)
        V1.disable_control_flow_v2()
        try:
            loop = tf.while_loop(lambda i, _: i < 3, lambda i, y: (i + 1, tf.matmul(y, square)), [0, x])
        finally:
            V1.enable_control_flow_v2()
        return tf.identity(loop[1], name="out")

    built = Built(make, {"x": IMAGE}, tmp_path)
    assert "Enter" in ops(built.graph_def).values()
    built.check(built.freeze())


def test_functions_that_are_called_stay(tmp_path: Path) -> None:
    def make() -> tf.Tensor:
        x = V1.placeholder(tf.float32, [None, 4], name="x")
        return tf.identity(tf.function(lambda y: y * 2.0)(x), name="out")

    def with_variable() -> tf.Tensor:
        V1.get_variable("bias", [3], use_resource=True)
        return make()

    built = Built(with_variable, {"x": IMAGE}, tmp_path)
    frozen = built.freeze()
    assert len(frozen.library.function) == 1
    built.check(frozen)


def test_a_use_that_has_no_constant_form_is_named(tmp_path: Path) -> None:
    def make() -> tf.Tensor:
        V1.placeholder(tf.float32, [None, 4], name="x")
        count = V1.get_variable("count", [4], use_resource=True)
        return tf.identity(count.assign_add(tf.ones([4]), read_value=True), name="out")

    with pytest.raises(StageError, match=r"AssignAddVariableOp.*count"):
        Built(make, {"x": IMAGE}, tmp_path).freeze()


def test_the_saver_is_tensorflows(fc: Built, tmp_path: Path) -> None:
    """A graph with our save nodes restores what TensorFlow's Saver wrote."""
    variables = [SavedVariable.of(node) for node in fc.graph_def.node if node.op in ("VarHandleOp", "VariableV2")]
    definition = saver_def("ours")
    graph = tf.Graph()
    with graph.as_default(), V1.Session(graph=graph) as session:
        bare = GraphDef()
        bare.CopyFrom(fc.graph_def)
        bare.node.extend(saver_nodes(variables, "ours"))
        tf.graph_util.import_graph_def(bare, name="")
        V1.train.Saver(saver_def=definition).restore(session, fc.checkpoint)
        np.testing.assert_array_equal(session.run(f"{fc.output}:0", {"x:0": IMAGE}), fc.wanted)
