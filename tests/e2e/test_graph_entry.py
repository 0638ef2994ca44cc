"""Graphs and SavedModels of today's TensorFlow come in by the front door; any frozen graph is evaluated."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from dnndk_prep import cli
from dnndk_prep.graph.artifact import GraphArtifact
from dnndk_prep.graph.run import GraphRunner

IMAGES = np.random.default_rng(2).random((3, 32, 32, 3)).astype(np.float32)


def network(api, seed: int = 4):
    """One small classifier of Fashion images in Keras 3 or Keras 2, its batch norms as after a training."""
    api.utils.set_random_seed(seed)
    layers = api.layers
    x = image = api.Input((32, 32, 3), name="image")
    x = layers.BatchNormalization(name="bn1")(layers.Conv2D(6, 3, strides=2, name="conv1")(x))
    x = layers.DepthwiseConv2D(3, padding="same", name="dw")(layers.ReLU(name="relu1")(x))
    x = layers.Dropout(0.5, name="drop")(layers.Flatten(name="flat")(layers.MaxPooling2D(2, name="pool")(x)))
    model = api.Model(image, layers.Dense(10, activation="softmax", name="prob")(x))
    random = np.random.default_rng(seed)
    model.set_weights([random.uniform(0.05, 0.4, w.shape) - 0.2 * (w.ndim > 1) for w in model.get_weights()])
    return model


def frozen(model, *, lower: bool = True, shape: tuple[int | None, ...] = (None, 32, 32, 3)) -> bytes:
    call = tf.function(lambda image: model(image, training=False))
    spec = tf.TensorSpec(shape, tf.float32, name="image")
    function = convert_variables_to_constants_v2(call.get_concrete_function(spec), lower_control_flow=lower)
    return function.graph.as_graph_def().SerializeToString()


def keras_3_export(folder: Path) -> tuple[Path, np.ndarray]:
    model = network(keras)
    model.export(folder / "saved", verbose=False)
    return folder / "saved", model.predict(IMAGES, verbose=0)


def keras_2_saved_model(folder: Path) -> tuple[Path, np.ndarray]:
    model = network(tf_keras)
    wanted = model(IMAGES).numpy()
    model.save(folder / "saved", save_format="tf")
    return folder / "saved", wanted


def keras_3_frozen(folder: Path) -> tuple[Path, np.ndarray]:
    model = network(keras)
    (folder / "net.pb").write_bytes(frozen(model))
    return folder / "net.pb", model.predict(IMAGES, verbose=0)


def keras_2_frozen(folder: Path) -> tuple[Path, np.ndarray]:
    model = network(tf_keras)
    (folder / "net.pb").write_bytes(frozen(model))
    return folder / "net.pb", model(IMAGES).numpy()


def recurrent_frozen(folder: Path, lower: bool) -> tuple[Path, np.ndarray]:
    tf_keras.utils.set_random_seed(3)
    x = series = tf_keras.Input((32, 32, 3), name="image")
    x = tf_keras.layers.LSTM(4, name="lstm")(tf_keras.layers.Reshape((32, 96))(x))
    model = tf_keras.Model(series, tf_keras.layers.Dense(10, activation="softmax", name="prob")(x))
    (folder / "net.pb").write_bytes(frozen(model, lower=lower))
    return folder / "net.pb", model(IMAGES).numpy()


def loop_frozen(folder: Path) -> tuple[Path, np.ndarray]:
    return recurrent_frozen(folder, lower=True)


def functional_loop_frozen(folder: Path) -> tuple[Path, np.ndarray]:
    return recurrent_frozen(folder, lower=False)


def branched_saved_model(folder: Path) -> tuple[Path, np.ndarray]:
    """A flag that is fed chooses between training and inference, in TensorFlow 2's own form."""
    model = network(tf_keras)

    class Module(tf.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        @tf.function(
            input_signature=[
                tf.TensorSpec((None, 32, 32, 3), name="image"),
                tf.TensorSpec((), tf.bool, name="training"),
            ]
        )
        def __call__(self, image, training):
            return {"prob": tf.cond(training, lambda: tf.nn.dropout(image, 0.5), lambda: image) * 1.0}

    tf.saved_model.save(Module(), str(folder / "saved"))
    return folder / "saved", IMAGES


def entered(
    path: Path, folder: Path, *, reader: str = "1.9", extra: str = "", to: str = "optimize_for_inference"
) -> int:
    (folder / "pipeline.yaml").write_text(
        f'model:\n  path: {path}\n{extra}graph: {{reader: "{reader}"}}\npreprocess: {{scale: 0.00392156862745098}}\n'
    )
    return cli.main(["run", str(folder / "pipeline.yaml"), "--to", to])


def optimized(folder: Path) -> GraphArtifact:
    return GraphArtifact.load(folder / "workspace" / "optimize_for_inference")


def within(graph: GraphArtifact, wanted: np.ndarray) -> bool:
    with GraphRunner(graph.graph_def, graph.output_names) as runner:
        (got,) = runner.run({graph.input_names[0]: IMAGES})
    return bool(np.abs(got - wanted).max() <= 1e-5 * max(1.0, np.abs(wanted).max()))


LAYERS = ("Conv2D", "DepthwiseConv2dNative", "Relu", "MaxPool", "Reshape", "MatMul", "Softmax")


@pytest.mark.parametrize("reader", ["1.9", "1.15"])
@pytest.mark.parametrize("make", [keras_3_export, keras_2_saved_model, keras_3_frozen, keras_2_frozen])
def test_a_network_becomes_the_plain_form(make: Callable, reader: str, tmp_path: Path):
    path, wanted = make(tmp_path)
    assert entered(path, tmp_path, reader=reader) == 0
    graph = optimized(tmp_path)
    assert within(graph, wanted)
    assert Counter(node.op for node in graph.graph_def.node if node.op != "Const") == {
        "Placeholder": 1, "Conv2D": 1, "DepthwiseConv2dNative": 1, "BiasAdd": 3, "Relu": 1, "MaxPool": 1, "Reshape": 1,
        "MatMul": 1, "Softmax": 1,
    }  # fmt: skip
    assert graph.input_names == ["image"]
    # After the layers, whoever made the graph.
    assert [node.name for node in graph.graph_def.node if node.op in LAYERS] == [
        "conv1/Conv2D", "relu1/Relu", "dw/depthwise", "pool/MaxPool", "flat/Reshape", "prob/MatMul", "prob/Softmax",
    ]  # fmt: skip
    record = json.loads((tmp_path / "workspace" / "optimize_for_inference" / "stage.json").read_text())
    assert record["facts"]["proof"]["accuracy"]["images"] == 2000


@pytest.mark.parametrize("make", [loop_frozen, functional_loop_frozen])
def test_loops_become_those_of_tensorflow_1(make: Callable, tmp_path: Path):
    path, wanted = make(tmp_path)
    assert entered(path, tmp_path) == 0
    graph = optimized(tmp_path)
    assert within(graph, wanted)
    assert not graph.graph_def.library.function
    assert {"Enter", "Exit", "NextIteration"} <= {node.op for node in graph.graph_def.node}


def test_a_branch_of_tensorflow_2_is_cut(tmp_path: Path):
    path, wanted = branched_saved_model(tmp_path)
    assert entered(path, tmp_path, extra="  inputs: [image]\n") == 0
    graph = optimized(tmp_path)
    assert within(graph, wanted)
    assert not {"Switch", "Merge", "RandomUniform"} & {node.op for node in graph.graph_def.node}


def test_inputs_and_outputs_by_the_users_names(tmp_path: Path):
    path, _ = keras_2_frozen(tmp_path)
    extra = "  inputs: [image]\n  outputs: [model/relu1/Relu]\n"
    names = [node.name for node in tf.compat.v1.GraphDef.FromString(path.read_bytes()).node]
    relu = next(name for name in names if name.endswith("relu1/Relu"))
    extra = extra.replace("model/relu1/Relu", relu)
    assert entered(path, tmp_path, extra=extra) == 0
    graph = optimized(tmp_path)
    assert graph.output_names == [relu]
    assert graph.outputs[0].shape == (None, 15, 15, 6)


@pytest.mark.parametrize("make", [keras_3_export, keras_3_frozen])
def test_layers_name_the_ends(make: Callable, tmp_path: Path):
    path, wanted = make(tmp_path)
    yaml = f"model: {{path: {path}}}\ngraph: {{inputs: {{image: photo}}, outputs: {{prob: scores}}}}\n"
    (tmp_path / "pipeline.yaml").write_text(yaml)
    assert cli.main(["run", str(tmp_path / "pipeline.yaml"), "--to", "freeze_graph"]) == 0
    graph = GraphArtifact.load(tmp_path / "workspace" / "freeze_graph")
    assert (graph.input_names, graph.output_names) == (["photo"], ["scores"])
    assert within(graph, wanted)
    entry = next(folder for folder in ("keras_2_tf", "freeze_graph") if (tmp_path / "workspace" / folder).exists())
    record = json.loads((tmp_path / "workspace" / entry / "stage.json").read_text())
    assert record["facts"]["layers"] == {"inputs": ["image"], "outputs": ["prob"]}


def variables_saved(folder: Path, *, resource: bool) -> Path:
    """A TensorFlow 1 graph with its checkpoint, made with today's TensorFlow."""
    v1, random = tf.compat.v1, np.random.default_rng(6)
    with tf.Graph().as_default(), v1.Session() as session:
        v1.get_variable_scope().set_use_resource(resource)
        x = v1.placeholder(tf.float32, [None, 32, 32, 3], name="image")
        kernel = v1.get_variable("conv1/kernel", initializer=random.random((3, 3, 3, 4), np.float32))
        rows = tf.reduce_mean(tf.nn.conv2d(x, kernel, 2, "SAME", name="conv1/Conv2D"), [1, 2], name="gap/Mean")
        weights = v1.get_variable("fc/kernel", initializer=random.random((4, 10), np.float32))
        tf.matmul(rows, weights, name="fc/MatMul")
        session.run(v1.global_variables_initializer())
        v1.train.Saver().save(session, str(folder / "model.ckpt"))
    return folder / "model.ckpt.meta"


@pytest.mark.parametrize("resource", [True, False])
def test_variables_of_a_checkpoint_may_stay(resource: bool, tmp_path: Path):
    path = variables_saved(tmp_path, resource=resource)
    (tmp_path / "pipeline.yaml").write_text(
        f"model: {{path: {path}}}\nfreeze_graph: {{keep_vars: [fc/kernel]}}\ngraph: {{reader: '1.15'}}\n"
    )
    assert cli.main(["run", str(tmp_path / "pipeline.yaml"), "--to", "optimize_for_inference"]) == 0
    kinds = {node.name: node.op for node in optimized(tmp_path).graph_def.node}
    assert kinds["fc/kernel"] == ("VarHandleOp" if resource else "VariableV2")
    assert kinds["conv1/kernel"] == "Const"
    record = json.loads((tmp_path / "workspace" / "freeze_graph" / "stage.json").read_text())
    assert record["facts"]["kept_variables"] == ["fc/kernel"]
    assert record["facts"]["proof"]["probe"]["max_abs_diff"] < 1e-5


def test_a_frozen_graph_has_no_variables_to_keep(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path, _ = keras_2_frozen(tmp_path)
    (tmp_path / "pipeline.yaml").write_text(f"model: {{path: {path}}}\nfreeze_graph: {{keep_vars: [conv1/kernel]}}\n")
    assert cli.main(["run", str(tmp_path / "pipeline.yaml"), "--to", "freeze_graph"]) == 2
    error = capsys.readouterr().err
    assert "conv1/kernel is no variable of net.pb" in error
    assert "Traceback" not in error


def test_a_typo_in_an_output_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path, _ = keras_2_frozen(tmp_path)
    assert entered(path, tmp_path, extra="  outputs: [Identiti]\n") == 4
    assert "nearest names: Identity" in capsys.readouterr().err


def test_the_plan_says_where_it_enters_and_a_dropped_stage_cannot_be_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path, _ = keras_2_frozen(tmp_path)
    assert entered(path, tmp_path, to="freeze_graph") == 0
    capsys.readouterr()
    yaml = str(tmp_path / "pipeline.yaml")
    assert cli.main(["plan", yaml]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[:3]] == [
        ["train_save", "skip"],
        ["keras_2_tf", "skip"],
        ["freeze_graph", "skip"],
    ]
    assert "net.pb enters at freeze_graph" in lines[1]
    assert "nothing changed" in lines[2]
    assert cli.main(["run", yaml, "--only", "keras_2_tf"]) == 2
    assert "not part of this run" in capsys.readouterr().err
    path.write_bytes(frozen(network(tf_keras, seed=9)))
    assert cli.main(["plan", yaml, "--to", "freeze_graph"]) == 0
    assert "the content of model.path changed" in capsys.readouterr().out


def test_a_frozen_graph_goes_all_the_way_to_a_bundle(tmp_path: Path):
    path, _ = keras_2_frozen(tmp_path)
    assert entered(path, tmp_path, to="report") == 0
    export = json.loads((tmp_path / "workspace" / "export" / "stage.json").read_text())["facts"]
    assert {bundle["net_name"] for bundle in export["bundles"]} == {"net"}
    assert (tmp_path / "workspace" / "export" / "dnndk" / "decent_q.sh").is_file()
    assert "freeze_graph" in (tmp_path / "workspace" / "report" / "report.md").read_text()


def accuracy(folder: Path, graph: Path, capsys: pytest.CaptureFixture[str], *words: str) -> dict:
    (folder / "data.yaml").write_text("preprocess: {scale: 0.00392156862745098}\n")
    capsys.readouterr()
    assert cli.main(["evaluate", str(graph), str(folder / "data.yaml"), "--json", *words]) == 0
    return json.loads(capsys.readouterr().out)


def test_any_graph_is_evaluated(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """As it came, with a fixed batch, and after our own stages: the same shares, counted by hand from Keras' scores."""
    from dnndk_prep.data.datasets import open_dataset
    from dnndk_prep.data.preprocess import Preprocess

    model = network(tf_keras)
    (tmp_path / "net.pb").write_bytes(frozen(model))
    (tmp_path / "fixed.pb").write_bytes(frozen(model, shape=(7, 32, 32, 3)))
    part = open_dataset("fashion_mnist_sample", None, None, seed=0).test
    images = next(part.batches(Preprocess(scale=1 / 255), 500, range(500)))[0]
    scores, labels = model(images).numpy(), part.labels[:500]
    best = np.argsort(-scores, axis=1)
    top1, top5 = (best[:, 0] == labels).mean(), (best[:, :5] == labels[:, None]).any(1).mean()
    found = accuracy(tmp_path, tmp_path / "net.pb", capsys, "--images", "500")
    assert (found["top1"], found["top5"], found["images"]) == (pytest.approx(top1), pytest.approx(top5), 500)
    assert accuracy(tmp_path, tmp_path / "fixed.pb", capsys, "--images", "500")["top1"] == found["top1"]
    assert entered(tmp_path / "net.pb", tmp_path) == 0
    ours = tmp_path / "workspace" / "optimize_for_inference" / "optimized_graph.pb"
    assert accuracy(tmp_path, ours, capsys, "--images", "500")["top1"] == found["top1"]


def test_a_quantized_graph_is_evaluated(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """The FixNeurons of the vendor's quantizers are computed: scores of three bits are often equal."""
    from dnndk_prep.data.datasets import open_dataset
    from dnndk_prep.data.preprocess import Preprocess

    model = network(tf_keras)
    graph_def = tf.compat.v1.GraphDef.FromString(frozen(model))
    end = graph_def.node.add(name="prob/aquant", op="FixNeuron", input=["Identity"])
    for key, value in {"bit_width": 4, "quantize_pos": 3, "mode": 1, "phase": 1}.items():
        end.attr[key].i = value
    (tmp_path / "quantize_eval_model.pb").write_bytes(graph_def.SerializeToString())
    part = open_dataset("fashion_mnist_sample", None, None, seed=0).test
    scores = model(next(part.batches(Preprocess(scale=1 / 255), 200, range(200)))[0]).numpy()
    rounded = np.clip(np.floor(scores.astype(np.float64) * 8 + 0.5), -8, 7) / 8
    assert (rounded.argmax(-1) != scores.argmax(-1)).any()
    found = accuracy(tmp_path, tmp_path / "quantize_eval_model.pb", capsys, "--images", "200")
    assert found["output"] == "prob/aquant"
    assert found["top1"] == pytest.approx((rounded.argmax(-1) == part.labels[:200]).mean())


def test_a_graph_that_the_data_do_not_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "net.pb").write_bytes(frozen(network(tf_keras)))
    (tmp_path / "data.yaml").write_text("preprocess: {resize: [16, 16]}\n")
    assert cli.main(["evaluate", str(tmp_path / "net.pb"), str(tmp_path / "data.yaml")]) == 3
    assert "wants 32x32x3" in capsys.readouterr().err
