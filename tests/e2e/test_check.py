"""The operator check on models of Keras: its shapes are TensorFlow's, its verdicts are exact, and it needs neither."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import conversion
import keras
import pytest
import tensorflow as tf
from battery import PATTERNS
from battery.cases import case

from dnndk_prep.check import check
from dnndk_prep.check.graph_file import read_graph_file
from dnndk_prep.check.network import Network, from_graph_def
from dnndk_prep.cli import main
from dnndk_prep.config import Config
from dnndk_prep.dpu.resolve import resolve_target
from dnndk_prep.errors import TargetError
from dnndk_prep.graph.artifact import GraphArtifact
from dnndk_prep.graph.rewrite import optimize
from dnndk_prep.graph.run import imported
from dnndk_prep.keras_io.load import read_model
from dnndk_prep.stages import dpu_check
from dnndk_prep.stages.context import StageContext

FEW = (
    "convolution, kernel 5x2, stride 3x2",
    "depthwise convolution, multiplier 2",
    "dilated convolution, free height and width",
    "transposed convolution, VALID",
    "grouped convolution",
    "1-D convolution, causal, dilated",
    "zero padding, each side another",
    "dense blocks, batch norms first",
    "operators between layers",
    "multi-head attention and a dense block",
)


def network_of(artifact: GraphArtifact) -> Network:
    return from_graph_def(artifact.graph_def, artifact.input_names, artifact.output_names)


def optimized(model: keras.Model, folder: Path) -> GraphArtifact:
    model.save(folder / "model.keras")
    return optimize(conversion.frozen(read_model(folder / "model.keras")), None)[0]


def small_cnn() -> keras.Model:
    layers = keras.layers
    x = image = layers.Input((28, 28, 1), name="image")
    x = layers.LeakyReLU(0.1, name="leaky")(layers.Conv2D(16, 3, name="conv")(x))
    x = layers.MaxPooling2D(name="pool")(x)
    x = layers.BatchNormalization(name="norm")(
        layers.Conv2D(32, 17, padding="same", activation="relu", name="large")(x)
    )
    x = layers.Activation("tanh", name="tanh")(layers.Conv2D(32, 3, name="last")(x))
    return keras.Model(image, layers.Dense(10, activation="softmax", name="prob")(layers.Flatten(name="flat")(x)))


@pytest.fixture(scope="module")
def mobilenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the stage optimize_for_inference would leave."""
    folder = tmp_path_factory.mktemp("mobilenet") / "optimize_for_inference"
    folder.mkdir()
    optimized(keras.applications.MobileNetV2(weights=None), folder.parent).save(folder, "optimized_graph.pb")
    return folder


def differences(graph_def: tf.compat.v1.GraphDef, network: Network) -> list[str]:
    found = []
    for op in imported(graph_def).get_operations():
        wanted = [None if t.shape.rank is None else tuple(t.shape.as_list()) for t in op.outputs]
        if network.shapes[op.name][: len(wanted)] != wanted:
            found.append(f"{op.name} ({op.type}): {network.shapes[op.name]}, not {wanted}")
    return found


@pytest.mark.parametrize("name", FEW)
def test_shapes_are_those_of_tensorflow(name):
    pattern = next(pattern for pattern in PATTERNS if pattern.name == name)
    artifact = case(pattern, pattern.spellings[0]).optimized("1.15")
    assert not differences(artifact.graph_def, network_of(artifact))


@pytest.mark.slow
@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.name)
def test_every_pattern_has_its_shapes_and_a_verdict(pattern):
    if "1.15" in pattern.refused:
        pytest.skip("there is no graph of it")
    artifact = case(pattern, pattern.spellings[0]).optimized("1.15")
    network = network_of(artifact)
    if not any(op.op in ("Enter", "While", "StatelessWhile", "If", "StatelessIf") for op in network.ops.values()):
        assert not differences(artifact.graph_def, network)
    for family in ("tf1", "tf2"):
        result = check(network, resolve_target("zcu104").dpu, family)
        assert {node.node for node in result.nodes} == set(network.ops)
        assert all(node.limit is None or node.placement == "cpu" for node in result.nodes)
        assert result.as_text()


def test_mobilenet_runs_whole_but_for_its_softmax(mobilenet):
    artifact = GraphArtifact.load(mobilenet)
    ours = network_of(artifact)
    assert not differences(artifact.graph_def, ours)
    for target in ("zcu104", "zcu102", "ultra96", "kv260"):
        result = check(ours, resolve_target(target).dpu)
        assert [(node.node, node.rule) for node in result.nodes if node.placement == "cpu"] == [
            ("predictions/Softmax", "softmax")
        ]
        assert [part.device for part in result.subgraphs] == ["dpu", "cpu"]
    zedboard = check(ours, resolve_target("zedboard").dpu)
    on_cpu = [node for node in zedboard.nodes if node.rule == "depthwise.engine"]
    assert len([node for node in on_cpu if node.op == "DepthwiseConv2dNative"]) == 17


def test_both_readers_of_a_graph_agree(mobilenet):
    artifact = GraphArtifact.load(mobilenet)
    ours = from_graph_def(
        read_graph_file(mobilenet / "optimized_graph.pb"), artifact.input_names, artifact.output_names
    )
    dpu = resolve_target("zcu104").dpu
    assert check(ours, dpu).as_dict() == check(network_of(artifact), dpu).as_dict()


def test_a_small_network_is_told_in_full(tmp_path):
    result = check(network_of(optimized(small_cnn(), tmp_path)), resolve_target("zcu104").dpu)
    broken = {node.node: (node.rule, node.value) for node in result.nodes if node.limit is not None}
    assert broken == {
        "large/Conv2D": ("conv.kernel", "17"),
        "large/BiasAdd": ("conv.kernel", "17"),
        "large/Relu": ("activation.alone", "behind large/Conv2D, on the CPU"),
        "tanh/Tanh": ("activation.tanh", "tanh"),
        "prob/Softmax": ("softmax", None),
    }
    assert [part.device for part in result.subgraphs] == ["dpu", "cpu", "dpu", "cpu", "dpu", "cpu"]
    # The batch norm went into the layer behind it.
    assert [(item.finding, item.node) for item in result.findings] == [("leaky_slope", "leaky/LeakyRelu")]
    text = result.as_text()
    # The Flatten behind the tanh is where its value is.
    assert text.startswith("6 nodes on the CPU, 6 subgraphs")
    assert max(map(len, text.splitlines())) <= 100


def test_a_workspace_is_read_without_tensorflow(mobilenet):
    code = (
        "import sys, time; from dnndk_prep.cli import main; start = time.process_time();"
        f"code = main(['inspect', {str(mobilenet / 'optimized_graph.pb')!r}, '--target', 'zcu104', '--json']);"
        "print(time.process_time() - start, 'tensorflow' in sys.modules, 'keras' in sys.modules, code, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    facts = json.loads(done.stdout)
    assert list(facts) == ["nodes", "subgraphs", "findings"]
    seconds, *others = done.stderr.split()
    assert others == ["False", "False", "0"]
    assert float(seconds) < 1


def test_the_command_line_converts_and_fails_where_asked(tmp_path, capsys):
    small_cnn().save(tmp_path / "model.keras")
    words = ["inspect", str(tmp_path / "model.keras"), "--target", "zcu104"]
    assert main(words) == 0
    plain = capsys.readouterr().out
    assert plain.startswith("6 nodes on the CPU")
    assert "vitis-ai-3.5" in plain.splitlines()[0]
    assert main([*words, "--json", "--fail-on", "cpu"]) == 7
    both = capsys.readouterr()
    assert len(json.loads(both.out)["subgraphs"]) == 6
    assert both.err.startswith("error: ")
    assert main([*words, "--family", "tf2", "--toolchain", "vitis-ai-2.5", "--json"]) == 0
    nodes = {node["node"]: node for node in json.loads(capsys.readouterr().out)["nodes"]}
    assert nodes["large/Conv2D"]["limit"] == "1-16"
    assert main(["inspect", str(tmp_path / "model.keras"), "--family", "tf2"]) == 2
    assert "--target" in capsys.readouterr().err
    assert main([*words, "--family", "tf2", "--toolchain", "dnndk-3.1"]) == 2
    assert "DNNDK 3.1 has no quantizer for TensorFlow 2" in capsys.readouterr().err


def test_a_frozen_graph_of_any_origin_is_taken(tmp_path, capsys):
    graph = tf.Graph()
    with graph.as_default():
        x = tf.compat.v1.placeholder(tf.float32, (None, 8, 8, 4), "x")
        y = tf.nn.conv2d(x, tf.ones((3, 3, 4, 8)), 1, "SAME", name="conv")
        tf.nn.sigmoid(y, name="y")
    (tmp_path / "any.pb").write_bytes(graph.as_graph_def().SerializeToString())
    assert main(["inspect", str(tmp_path / "any.pb"), "--target", "DPUCZDX8G_ISA1_B4096"]) == 0
    assert capsys.readouterr().out.startswith("1 node on the CPU, 2 subgraphs")
    assert main(["inspect", str(tmp_path / "any.pb"), "--target", "DPUCZDX8G_ISA1_B4096", "--family", "tf2"]) == 0
    assert capsys.readouterr().out.startswith("all on the DPU in 1 subgraph")


def stage(folder: Path, out: Path, **options) -> tuple[dict, list[str]]:
    """The stage dpu_check on what `folder` holds: its facts, and what it said."""
    out.mkdir()
    said: list[str] = []
    cfg = Config.model_validate({"target": {"board": "zcu104"}, **options})
    facts = dpu_check.run(StageContext(cfg, {folder.name: folder}, out, out / "scratch", said.append))
    return facts, said


def test_the_stage_keeps_the_check_of_each_toolchain(mobilenet, tmp_path):
    facts, said = stage(mobilenet, tmp_path / "dpu_check")
    kept = json.loads((tmp_path / "dpu_check" / "check.json").read_text())
    assert list(kept) == [item["toolchain"] for item in facts["checks"]] == ["dnndk-3.1", "vitis-ai-3.5"]
    assert list(kept["dnndk-3.1"]) == ["target", "nodes", "subgraphs", "findings"]
    assert [row["rule"] for item in facts["checks"] for row in item["rules"]] == ["softmax", "softmax"]
    assert said[0] == "dpu_check: dnndk-3.1: 1 node on the CPU, 2 subgraphs"
    assert (tmp_path / "dpu_check" / "check.txt").read_text().startswith("dnndk-3.1: 1 node on the CPU")


def test_the_stage_fails_where_asked_alone(mobilenet, tmp_path):
    with pytest.raises(TargetError) as caught:
        stage(mobilenet, tmp_path / "a", dpu_check={"fail_on": "cpu"})
    assert caught.value.exit_code == 7
    assert "predictions/Softmax" in str(caught.value)
    facts, _ = stage(mobilenet, tmp_path / "c", dpu_check={"family": "tf2"})
    assert [item["target"].split(", ")[1] for item in facts["checks"]] == ["vai_q_tensorflow", "vai_q_tensorflow2"]
    facts, _ = stage(mobilenet, tmp_path / "b", target={"bundles": False}, dpu_check={"fail_on": "cpu"})
    assert facts == {"checks": []}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "tf1", "tf2"),
    [
        ("MobileNet", (1, 2), (1, 2)),
        ("ResNet50", (1, 2), (1, 2)),
        ("VGG16", (1, 2), (1, 2)),
        ("InceptionV3", (1, 2), (1, 2)),
        ("DenseNet121", (1, 2), (1, 2)),
        ("EfficientNetB0", (134, 134), (5, 3)),
    ],
)
def test_applications(name, tf1, tf2, tmp_path):
    network = network_of(optimized(getattr(keras.applications, name)(weights=None), tmp_path))
    for family, wanted in (("tf1", tf1), ("tf2", tf2)):
        result = check(network, resolve_target("zcu104").dpu, family)
        assert (len(result.on_cpu), len(result.subgraphs)) == wanted
