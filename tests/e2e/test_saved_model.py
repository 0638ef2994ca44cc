"""The SavedModel, as programs use it: saved_model_cli of TensorFlow 1.15 and today's, and a program in C."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from conversion import assert_within
from environments import without_tensorflow
from keras import layers

from dnndk_prep import cli
from dnndk_prep.config import Config
from dnndk_prep.errors import StageError, UsageError
from dnndk_prep.graph.artifact import GraphArtifact, TensorSpec
from dnndk_prep.graph.run import GraphRunner
from dnndk_prep.stages import export
from dnndk_prep.stages.context import StageContext

RANDOM = np.random.default_rng(0)
C_PROGRAM = Path(__file__).with_name("c") / "run_saved_model.c"
TODAY = "today"
OPTIONS = """
saved_model:
  name: answer
  version: 3
  signature: classify
  tags: [serve, small]
  inputs: {%s: x}
  outputs: {prob: scores}
  learning_phase: %s
  assets: [labels.txt]
target: {bundles: false}
"""


def cnn() -> keras.Model:
    x = image = layers.Input((12, 12, 3), name="image")
    x = layers.Conv2D(6, 3, use_bias=False, name="conv1")(x)
    x = layers.ReLU(name="relu1")(layers.BatchNormalization(name="bn1")(x))
    x = layers.Dropout(0.5, name="drop")(layers.GaussianNoise(0.1, name="noise")(x))
    x = layers.Flatten(name="flat")(x)
    return keras.Model(image, layers.Dense(4, activation="softmax", name="prob")(x), name="cnn")


def lstm() -> keras.Model:
    x = tokens = layers.Input((10,), name="tokens")
    x = layers.Embedding(50, 8, name="embedding")(x)
    x = layers.LSTM(6, recurrent_dropout=0.2, name="lstm")(x)
    x = layers.Dropout(0.5, name="drop")(x)
    return keras.Model(tokens, layers.Dense(4, activation="softmax", name="prob")(x), name="text")


class Case:
    """A model that went through the pipeline: its input, a batch, what Keras predicts, and the SavedModel's folder."""

    def __init__(self, make: Callable[[], keras.Model], folder: Path, learning_phase: bool) -> None:
        keras.utils.set_random_seed(0)
        model = make()
        model.set_weights([w + RANDOM.normal(0, 0.05, w.shape) for w in model.get_weights()])
        self.folder, self.input = folder, model.inputs[0].name
        shape = (5, *model.inputs[0].shape[1:])
        words = model.name == "text"
        self.batch = (RANDOM.integers(0, 50, shape) if words else RANDOM.random(shape)).astype(np.float32)
        self.wanted = model.predict(self.batch, verbose=0)
        model.save(folder / "model.h5")
        (folder / "labels.txt").write_text("one\ntwo\nthree\nfour\n")
        options = OPTIONS % (self.input, str(learning_phase).lower())
        (folder / "p.yaml").write_text(f"model: {{path: model.h5}}{options}")
        assert cli.main(["run", str(folder / "p.yaml")]) == 0
        self.exported = folder / "workspace" / "export"
        self.saved = self.exported / "saved_model" / "answer" / "3"
        np.save(folder / "x.npy", self.batch)
        for phase in (False, True):
            np.save(folder / f"{phase}.npy", np.array(phase))


@pytest.fixture(scope="module", params=[cnn, lstm], ids=["cnn", "lstm"])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    return Case(request.param, tmp_path_factory.mktemp("plain"), learning_phase=False)


@pytest.fixture(scope="module", params=[cnn, lstm], ids=["cnn", "lstm"])
def phased(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    return Case(request.param, tmp_path_factory.mktemp("phased"), learning_phase=True)


@pytest.fixture(params=["1.15", TODAY])
def saved_model_cli(request: pytest.FixtureRequest, old_python: Callable[[str], Path]) -> Callable[..., str]:
    """`saved_model_cli(word, ...)` of each TensorFlow: what it prints."""
    python = Path(sys.executable) if request.param == TODAY else old_python(request.param)

    def run(*words: object) -> str:
        done = subprocess.run(
            [str(python.parent / "saved_model_cli"), *map(str, words)],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env=without_tensorflow() | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""},
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    return run


@pytest.fixture(scope="module")
def c_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program over the C API, built with the headers and libraries of TensorFlow's wheel."""
    gcc = shutil.which("gcc")
    if gcc is None:
        pytest.skip("no gcc is here to build a program over TensorFlow's C API")
    program = tmp_path_factory.mktemp("c") / "run_saved_model"
    folder = Path(tf.__file__).parent
    libraries = [f"-l:{path.name}" for path in sorted(folder.glob("libtensorflow_*.so.*"))]
    assert len(libraries) == 2
    command = [gcc, "-Wall", "-Wextra", "-Werror", "-o", program, C_PROGRAM, "-isystem", tf.sysconfig.get_include()]
    command += [f"-L{folder}", f"-Wl,-rpath,{folder}", *libraries]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return program


def run_cli(saved_model_cli: Callable[..., str], case: Case, phase: bool | None, out: Path) -> np.ndarray:
    inputs = f"x={case.folder / 'x.npy'}"
    if phase is not None:
        inputs += f";keras_learning_phase={case.folder / f'{phase}.npy'}"
    words = ["--dir", case.saved, "--tag_set", "serve,small", "--signature_def", "classify", "--inputs", inputs]
    saved_model_cli("run", *words, "--outdir", out, "--overwrite")
    return np.load(out / "scores.npy")


def run_c(program: Path, folder: Path, names: list[str], phase: str, batch: np.ndarray) -> np.ndarray:
    done = subprocess.run(
        [program, folder, *names, phase, *map(str, batch.shape)],
        input=batch.astype(np.float32).tobytes(),
        capture_output=True,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert done.returncode == 0, done.stderr.decode()
    return np.frombuffer(done.stdout, np.float32).reshape(len(batch), -1)


def test_the_cli_shows_names_types_and_shapes(case: Case, saved_model_cli: Callable[..., str]):
    shown = " ".join(saved_model_cli("show", "--dir", case.saved, "--all").split())
    assert "MetaGraphDef with tag-set: 'serve, small'" in shown.replace("small, serve", "serve, small")
    assert "signature_def['classify']" in shown
    assert f"inputs['x'] tensor_info: dtype: DT_FLOAT shape: (-1, {', '.join(map(str, case.batch.shape[1:]))})" in shown
    assert f"name: {case.input}:0" in shown
    assert "outputs['scores'] tensor_info: dtype: DT_FLOAT shape: (-1, 4) name: prob/Softmax:0" in shown
    assert "Method name is: tensorflow/serving/predict" in shown
    assert "keras_learning_phase" not in shown


def test_the_cli_runs_it(case: Case, saved_model_cli: Callable[..., str], tmp_path: Path):
    assert_within([run_cli(saved_model_cli, case, None, tmp_path)], [case.wanted])


# The program in C feeds it to both.
@pytest.mark.parametrize("phased", [cnn], ids=["cnn"], indirect=True)
def test_the_cli_feeds_the_learning_phase(phased: Case, saved_model_cli: Callable[..., str], tmp_path: Path):
    shown = saved_model_cli("show", "--dir", phased.saved, "--tag_set", "serve,small", "--signature_def", "classify")
    assert "inputs['keras_learning_phase'] tensor_info: dtype: DT_BOOL shape: () name: keras_learning_phase:0" in (
        " ".join(shown.split())
    )
    assert_within([run_cli(saved_model_cli, phased, False, tmp_path)], [phased.wanted])
    assert np.abs(run_cli(saved_model_cli, phased, True, tmp_path) - phased.wanted).max() > 1e-3


def test_a_program_in_c_runs_it(case: Case, c_program: Path):
    single = one_tag(case)
    got = run_c(c_program, single, ["serve", case.input, "prob/Softmax"], "-", case.batch)
    assert_within([got], [case.wanted])


def test_a_program_in_c_feeds_the_learning_phase(phased: Case, c_program: Path):
    single = one_tag(phased)
    names = ["serve", phased.input, output_of(phased)]
    for phase in ("-", "0"):
        assert_within([run_c(c_program, single, names, phase, phased.batch)], [phased.wanted])
    trained = [run_c(c_program, single, names, "1", phased.batch) for _ in range(2)]
    # Dropout is drawn anew in each run.
    assert np.abs(trained[0] - trained[1]).max() > 1e-3


def one_tag(case: Case) -> Path:
    """The same model exported under the tag `serve` alone; only export runs again."""
    assert cli.main(["run", str(case.folder / "p.yaml"), "--set", "saved_model.tags=[serve]"]) == 0
    target = case.folder / "one_tag"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(case.saved, target)
    assert cli.main(["run", str(case.folder / "p.yaml")]) == 0
    return target


def output_of(case: Case) -> str:
    facts = json.loads((case.exported / "stage.json").read_text())["facts"]["saved_model"]
    return str(facts["outputs"]["scores"]).removesuffix(":0")


def test_what_was_exported_with_a_learning_phase_comes_back_in(phased: Case, tmp_path: Path):
    """The signature lists the flag as an input; it is no input of the model."""
    (tmp_path / "p.yaml").write_text(f"model: {{path: {phased.saved}}}\ngraph: {{reader: '1.15'}}\n")
    assert cli.main(["run", str(tmp_path / "p.yaml"), "--to", "optimize_for_inference"]) == 0
    graph = GraphArtifact.load(tmp_path / "workspace" / "optimize_for_inference")
    assert graph.input_names == [phased.input]
    assert not any("learning_phase" in node.name or node.op.startswith("Random") for node in graph.graph_def.node)
    with GraphRunner(graph.graph_def, graph.output_names) as runner:
        assert_within(runner.run({phased.input: phased.batch}), [phased.wanted])
    assert "keras_learning_phase is set to False" in "".join(
        path.read_text() for path in (tmp_path / "workspace").glob("*/op_names.txt")
    )


def test_training_batch_norms_use_the_batch(tmp_path: Path):
    """Fed true, a batch norm without dropout around it gives what Keras gives with training=True."""
    image = layers.Input((6, 6, 2), name="image")
    model = keras.Model(image, layers.BatchNormalization(name="bn")(layers.Conv2D(3, 3, name="conv")(image)))
    model.set_weights([RANDOM.random(w.shape) + 0.5 for w in model.get_weights()])
    model.save(tmp_path / "bn.h5")
    (tmp_path / "p.yaml").write_text(
        "model: {path: bn.h5}\nsaved_model: {learning_phase: true}\ntarget: {bundles: false}\n"
    )
    batch = RANDOM.random((4, 6, 6, 2)).astype(np.float32)
    predicted = model.predict(batch, verbose=0)
    trained = model(batch, training=True).numpy()
    assert cli.main(["run", str(tmp_path / "p.yaml")]) == 0
    folder = tmp_path / "workspace" / "export" / "saved_model" / "bn" / "1"
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.compat.v1.saved_model.load(session, ["serve"], str(folder))
        fetch = json.loads((tmp_path / "workspace" / "export" / "stage.json").read_text())["facts"]["saved_model"]
        name = fetch["outputs"]["bn"]
        assert_within([session.run(name, {"image:0": batch})], [predicted])
        assert_within([session.run(name, {"image:0": batch, "keras_learning_phase:0": True})], [trained])


def test_the_layout_and_the_assets(case: Case):
    names = {path.relative_to(case.exported / "saved_model").as_posix() for path in case.saved.rglob("*")}
    assert names == {"answer/3/saved_model.pb", "answer/3/assets", "answer/3/assets/labels.txt"}
    assert (case.saved / "assets" / "labels.txt").read_text().startswith("one\n")
    loaded = tf.saved_model.load(str(case.saved), tags=["serve", "small"])
    run = loaded.signatures["classify"]
    assert_within([run(tf.constant(case.batch))["scores"].numpy()], [case.wanted])
    assert [asset.asset_path.numpy().decode() for asset in loaded.asset_paths] == [
        str(case.saved / "assets" / "labels.txt")
    ]


def test_the_assets_are_found_by_their_tensor(case: Case):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta = tf.compat.v1.saved_model.load(session, ["serve", "small"], str(case.saved))
        assert [asset.filename for asset in meta.asset_file_def] == ["labels.txt"]
        assert session.run(meta.asset_file_def[0].tensor_info.name) == b"labels.txt"


def test_the_graph_is_of_the_readers_level_and_the_same_every_time(phased: Case):
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    blob = (phased.saved / "saved_model.pb").read_bytes()
    graph_def = SavedModel.FromString(blob).meta_graphs[0].graph_def
    assert graph_def.versions.producer == 134
    assert not graph_def.library.function
    assert not any(node.op in ("VarHandleOp", "While", "StatelessWhile", "If") for node in graph_def.node)
    assert cli.main(["run", str(phased.folder / "p.yaml"), "--only", "export", "--force"]) == 0
    assert (phased.saved / "saved_model.pb").read_bytes() == blob


@pytest.mark.parametrize(
    ("yaml", "code", "said"),
    [
        ("{inputs: {imagf: x}}", 2, "image"),
        ("{outputs: {prob: x}, inputs: {image: ''}}", 2, "saved_model.inputs"),
        ("{name: ../up}", 2, "saved_model.name"),
        ("{version: 0}", 2, "saved_model.version"),
        ("{assets: [none.txt]}", 3, "none.txt"),
        ("{learning_phase: 1}", 2, "saved_model.learning_phase"),
    ],
)
def test_mistakes_are_one_clear_message(
    yaml: str, code: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    cnn().save(tmp_path / "m.h5")
    (tmp_path / "p.yaml").write_text(f"model: {{path: m.h5}}\nsaved_model: {yaml}\ntarget: {{bundles: false}}\n")
    assert cli.main(["run", str(tmp_path / "p.yaml")]) == code
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


def small_context(tmp_path: Path, saved_model: dict[str, object]) -> StageContext:
    """The context of `export` after a graph with one input and one output."""
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, [None, 4], name="x")
        tf.nn.relu(x, name="y")
    ends = TensorSpec("x", (None, 4), "float32"), TensorSpec("y", (None, 4), "float32")
    for name in ("train", "graph", "out"):
        (tmp_path / name).mkdir()
    GraphArtifact(graph.as_graph_def(), ends[:1], ends[1:], "1.9").save(tmp_path / "graph", "optimized_graph.pb")
    values = {"model": {"path": tmp_path / "came"}, "saved_model": saved_model, "target": {"bundles": False}}
    cfg = Config.model_validate(values)
    inputs = {"train_save": tmp_path / "train", "optimize_for_inference": tmp_path / "graph"}
    return StageContext(cfg, inputs, tmp_path / "out", tmp_path, lambda text: None)


def test_assets_of_a_saved_model_that_came_in_are_kept(tmp_path: Path):
    (tmp_path / "came" / "assets" / "words").mkdir(parents=True)
    (tmp_path / "came" / "saved_model.pb").write_bytes(b"")
    (tmp_path / "came" / "assets" / "words" / "vocabulary.txt").write_text("yes\nno\n")
    (tmp_path / "more.txt").write_text("more")
    ctx = small_context(tmp_path, {"assets": [tmp_path / "more.txt"]})
    facts = export.run(ctx)["saved_model"]
    assert facts["assets"] == ["words/vocabulary.txt", "more.txt"]
    assert facts["inputs"] == {"x": "x:0"}
    saved = ctx.out / facts["folder"]
    assert (saved / "assets" / "words" / "vocabulary.txt").read_text() == "yes\nno\n"
    loaded = tf.saved_model.load(str(saved))
    assert [Path(asset.asset_path.numpy().decode()).name for asset in loaded.asset_paths] == [
        "vocabulary.txt",
        "more.txt",
    ]
    batch = np.array([[-1, 2, -3, 4]], np.float32)
    got = loaded.signatures["serving_default"](x=tf.constant(batch))["y"].numpy()
    assert got.tolist() == [[0, 2, 0, 4]]


def test_what_a_graph_cannot_give(tmp_path: Path):
    ctx = small_context(tmp_path, {"learning_phase": True})
    with pytest.raises(StageError, match="needs the Keras model"):
        export.run(ctx)


def test_two_assets_of_one_name_are_refused(tmp_path: Path):
    (tmp_path / "other").mkdir()
    files = [tmp_path / "a.txt", tmp_path / "other" / "a.txt"]
    for file in files:
        file.write_text("")
    with pytest.raises(UsageError, match="two files"):
        export.run(small_context(tmp_path, {"assets": files}))
