"""`optimize`: the rewrites in order, each checked, and the one that breaks the graph named."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from graphs import V1, Made, image, node, normal, ops
from tensorflow.core.framework.graph_pb2 import GraphDef
from tf_keras.src import backend

from dnndk_prep.errors import NumericsError, StageError
from dnndk_prep.graph import rewrite
from dnndk_prep.graph.artifact import GraphArtifact, TensorSpec, serialize
from dnndk_prep.graph.freeze import freeze
from dnndk_prep.graph.readers import for_reader, registry_of
from dnndk_prep.graph.rewrites import Rewritten
from dnndk_prep.graph.run import GraphRunner

INPUT = TensorSpec("x", (None, 6, 6, 3), "float32")


def small(*outputs: str) -> tuple[GraphArtifact, dict[str, np.ndarray]]:
    def make(random):
        y = tf.nn.relu(tf.identity(image() * tf.constant(2.0)), name="out")
        tf.add(y, 1.0, name="second")

    made = Made(make, x=(2, 6, 6, 3))
    specs = tuple(TensorSpec(name, (None, 6, 6, 3), "float32") for name in outputs)
    return GraphArtifact(made.graph_def, (INPUT,), specs, "1.15"), made.feeds


def application(make: Callable[..., tf_keras.Model]) -> tuple[GraphArtifact, dict[str, np.ndarray]]:
    """A network of tf_keras for inference, frozen with random weights and statistics."""
    random = np.random.default_rng(0)
    with tf.Graph().as_default() as graph:
        backend.set_learning_phase(0)
        # Without the softmax, which would hide differences where it gives 0 and 1.
        model = make(weights=None, input_shape=(64, 64, 3), classes=10, classifier_activation=None)
        values = {v.op.name: random.uniform(0.5, 1.5, v.shape).astype(np.float32) for v in V1.global_variables()}
    for name, value in values.items():
        if name.endswith("kernel"):
            value[...] = random.normal(size=value.shape) / np.sqrt(np.prod(value.shape[:-1]))
    source, name = model.inputs[0].op.name, model.outputs[0].op.name
    graph_def = freeze(graph.as_graph_def(), values, [name])
    specs = TensorSpec(source, (None, 64, 64, 3), "float32"), TensorSpec(name, (None, 10), "float32")
    feeds = {source: random.uniform(-1, 1, (1, 64, 64, 3)).astype(np.float32)}
    return GraphArtifact(graph_def, specs[:1], specs[1:], "1.15"), feeds


def test_resnet_50_loses_all_its_batch_norms():
    artifact, probe = application(tf_keras.applications.ResNet50)
    assert ops(artifact.graph_def)["FusedBatchNormV3"] == 53
    optimized, reports = rewrite.optimize(artifact, probe)
    with GraphRunner(artifact.graph_def, artifact.output_names) as runner:
        assert 0.1 < np.abs(runner.run(probe)[0]).max() < 1e6
    found = ops(optimized.graph_def)
    assert found["FusedBatchNormV3"] == found["Mul"] == found["Identity"] == 0
    assert found["Conv2D"] == 53
    assert found["BiasAdd"] == 54
    assert not any(report.notes for report in reports)
    assert [report.before for report in reports[1:]] == [report.after for report in reports[:-1]]
    assert serialize(rewrite.optimize(artifact, None)[0].graph_def) == serialize(optimized.graph_def)


def test_mobilenet_v2_has_no_mul_left():
    artifact, probe = application(tf_keras.applications.MobileNetV2)
    found = ops(rewrite.optimize(artifact, probe)[0].graph_def)
    assert found["FusedBatchNormV3"] == found["Mul"] == 0
    assert found["BiasAdd"] == 53


def test_inputs_outputs_and_reader_stay():
    artifact, probe = small("second", "out")
    optimized, _ = rewrite.optimize(artifact, probe)
    assert (optimized.inputs, optimized.outputs, optimized.reader) == (artifact.inputs, artifact.outputs, "1.15")
    assert {node(optimized.graph_def, name).op for name in ("out", "second")} == {"Relu", "AddV2"}


def test_what_no_output_needs_goes():
    artifact, probe = small("out")
    optimized, _ = rewrite.optimize(artifact, probe)
    assert "second" not in {node.name for node in optimized.graph_def.node}


def test_the_saver_of_a_kept_variable_stays():
    def make(random):
        kernel = V1.get_variable("kernel", [3], use_resource=True)
        tf.add(image(), kernel, name="out")
        V1.train.Saver()
        tf.square(kernel, name="unread")

    graph_def = Made(make, x=(1, 6, 6, 3)).graph_def
    artifact = GraphArtifact(graph_def, (INPUT,), (TensorSpec("out", (None, 6, 6, 3), "float32"),), "1.15")
    names = {node.name for node in rewrite.optimize(artifact, None)[0].graph_def.node}
    assert {"save/restore_all", "save/control_dependency", "save/Const"} <= names
    assert "unread" not in names


@pytest.mark.parametrize("with_probe", [True, False])
def test_a_graph_for_an_old_reader_stays_one(with_probe):
    """TensorFlow writes today's default attributes into a graph that it imports."""

    def make(random):
        kernel = tf.constant(normal(random, 3, 3, 3, 4))
        y = tf.nn.max_pool2d(tf.nn.conv2d(image(), kernel, 1, "SAME") * normal(random, 4), 2, 2, "SAME")
        y = tf.reshape(y, tf.stack([tf.shape(y)[0], 36]))
        tf.matmul(y, tf.constant(normal(random, 36, 2)), name="out")

    made = Made(make, x=(2, 6, 6, 3))
    graph_def = for_reader(made.graph_def, "1.9", frozenset(["x", "out"]))
    artifact = GraphArtifact(graph_def, (INPUT,), (TensorSpec("out", (None, 2), "float32"),), "1.9")
    optimized, _ = rewrite.optimize(artifact, made.feeds if with_probe else None)
    registry = registry_of("1.9")
    for found in optimized.graph_def.node:
        assert set(found.attr) <= set(registry[found.op]["attrs"]), found.name


def change_numbers(graph_def: GraphDef, keep: frozenset[str]) -> Rewritten:
    return with_factor(graph_def, np.array(4, np.float32))


def with_factor(graph_def: GraphDef, value: np.ndarray) -> Rewritten:
    result = GraphDef.FromString(graph_def.SerializeToString())
    node(result, "Const").attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
    return Rewritten(result)


def lose_the_output(graph_def: GraphDef, keep: frozenset[str]) -> Rewritten:
    return Rewritten(GraphDef(node=[n for n in graph_def.node if n.name != "out"]))


def lose_an_input(graph_def: GraphDef, keep: frozenset[str]) -> Rewritten:
    return Rewritten(GraphDef(node=[n for n in graph_def.node if n.op != "Mul"]))


def double_a_node(graph_def: GraphDef, keep: frozenset[str]) -> Rewritten:
    return Rewritten(GraphDef(node=[*graph_def.node, node(graph_def, "out")]))


def mix_types(graph_def: GraphDef, keep: frozenset[str]) -> Rewritten:
    result = GraphDef.FromString(graph_def.SerializeToString())
    node(result, "out").attr["T"].type = tf.int32.as_datatype_enum
    return Rewritten(result)


def change_the_shape(graph_def: GraphDef, keep: frozenset[str]) -> Rewritten:
    return with_factor(graph_def, np.full((1, 1, 1, 1, 1), 2, np.float32))


@pytest.mark.parametrize(
    ("broken", "error", "with_probe"),
    [
        (change_numbers, NumericsError, True),
        (change_the_shape, NumericsError, True),
        (lose_the_output, StageError, False),
        (lose_an_input, StageError, False),
        (double_a_node, StageError, False),
        (mix_types, StageError, False),
        (mix_types, StageError, True),
    ],
)
def test_a_rewrite_that_breaks_the_graph_is_named(monkeypatch, broken, error, with_probe):
    artifact, probe = small("out")
    monkeypatch.setattr(rewrite, "REWRITES", (broken, *rewrite.REWRITES))
    with pytest.raises(error, match=f"the rewrite {broken.__name__} "):
        rewrite.optimize(artifact, probe if with_probe else None)


def test_numbers_that_are_none_do_not_pass(monkeypatch):
    def to_nan(graph_def: GraphDef, keep: frozenset[str]) -> Rewritten:
        return with_factor(graph_def, np.array(np.nan, np.float32))

    artifact, probe = small("second")
    monkeypatch.setattr(rewrite, "REWRITES", (to_nan,))
    with pytest.raises(NumericsError, match="to_nan"):
        rewrite.optimize(artifact, probe)


def test_a_probe_whose_results_are_no_numbers():
    """0/0 in the model itself is the model's; the graph is the same before and after."""
    made = Made(lambda random: tf.math.log(image(), name="out"), x=(1, 6, 6, 3))
    artifact = GraphArtifact(made.graph_def, (INPUT,), (TensorSpec("out", (None, 6, 6, 3), "float32"),), "1.15")
    assert rewrite.optimize(artifact, made.feeds)[1][-1].max_abs_diff == 0
