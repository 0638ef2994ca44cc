"""The bundles as they run in the vendors' containers: real old TensorFlows, stand-ins for the vendors' tools."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import keras
import keras_models
import numpy as np
import pytest
from bundle_models import PREDICT, TF2_PACKAGE, channels_first, everything
from environments import without_tensorflow
from tensorflow.core.framework.graph_pb2 import GraphDef

from dnndk_prep import cli
from dnndk_prep.export.vitis_ai_tf2.float_h5 import FloatModel
from dnndk_prep.keras_io.inference import build_inference
from dnndk_prep.keras_io.load import read_model
from dnndk_prep.keras_io.predict import Predictor, probe_batch

YAML = """
workspace: {workspace}
model: {{path: {model}}}
calibration: {{path: {data}, count: 12, batch_size: 4}}
target: {{board: {board}, toolchain: {toolchain}}}
"""


def run_pipeline(folder: Path, model: keras.Model, toolchain: str, *words: str) -> Path:
    """The export folder of a run on random images."""
    model.save(folder / "model.keras")
    np.savez(folder / "data.npz", image=np.random.default_rng(0).random((12, *model.inputs[0].shape[1:]), np.float32))
    text = YAML.format(
        workspace=folder / "w",
        model=folder / "model.keras",
        data=folder / "data.npz",
        board="zcu104",
        toolchain=toolchain,
    )
    (folder / "pipeline.yaml").write_text(text)
    assert cli.main(["run", str(folder / "pipeline.yaml"), "--to", "export", *words]) == 0
    return folder / "w" / "export"


@pytest.fixture(scope="module")
def export(tmp_path_factory) -> Path:
    return run_pipeline(tmp_path_factory.mktemp("run"), everything(), "vitis-ai-3.5")


@dataclass(frozen=True)
class Case:
    """One script of one bundle, as it is or damaged, with modules beside it that stand in for the vendor's."""

    family: str
    script: str = "check.py"
    damage: Callable[[Path], object] = lambda folder: None
    modules: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Done:
    folder: Path
    code: int
    stdout: str
    stderr: str


QUIET = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True}
RUNNER = Path(__file__).with_name("container_runner.py")


PREDICTED = "predicted"


@dataclass(frozen=True)
class FloatModels:
    """Float models in `folder`, what to feed them, and what the models themselves predict."""

    folder: Path
    predicted: Mapping[str, list[np.ndarray]]


@pytest.fixture(scope="module")
def float_models(tmp_path_factory) -> FloatModels:
    folder, predicted = tmp_path_factory.mktemp("models"), {}
    models = {name: keras_models.made(name, keras) for name in ("several", "shared", "without_input")}
    for name, model in {**models, "everything": everything(), "channels_first": channels_first()}.items():
        path = folder / "source.keras"
        model.save(path)
        source = read_model(path)
        built = build_inference(source)
        fed = list(probe_batch(source, built.inputs, 0).values())
        predicted[name] = Predictor(source).predict(fed)
        FloatModel.of(source, built.input_layers).write(folder / f"{name}.h5")
        np.savez(folder / f"{name}.npz", **{f"in_{i}": value for i, value in enumerate(fed)})
    (folder / "predict.py").write_text(PREDICT)
    return FloatModels(folder, predicted)


@pytest.fixture(scope="module")
def done_in(export, float_models, old_python, tmp_path_factory) -> Callable[[str], Mapping[str, Done]]:
    """What came of all cases of an environment: importing TensorFlow takes seconds, so each does it once."""

    @functools.cache
    def run(environment: str) -> Mapping[str, Done]:
        python, cases = old_python(environment), CASES[environment]
        jobs, folders = [], {}
        for name, case in cases.items():
            root = tmp_path_factory.mktemp("case")
            folders[name] = folder = root / "my bundle"
            shutil.copytree(export / case.family, folder)
            case.damage(folder)
            for module, text in case.modules.items():
                (root / module).parent.mkdir(parents=True, exist_ok=True)
                (root / module).write_text(text)
            jobs.append([str(folder / case.script), [str(root)] if case.modules else []])
        if environment.startswith("keras"):
            folders[PREDICTED] = float_models.folder
            jobs.append([str(float_models.folder / "predict.py"), []])
        # From another folder: the scripts find their own.
        command = [python, "-W", "ignore", RUNNER]
        told = {"input": json.dumps(jobs), "capture_output": True, "text": True, "env": without_tensorflow()}
        process = subprocess.run(command, cwd=folders["vitis_ai"].parent, **told)
        assert process.returncode == 0, process.stderr[-2000:]
        results = json.loads(process.stdout.splitlines()[-1])
        return {name: Done(folders[name], *result) for name, result in zip(folders, results, strict=True)}

    return run


@pytest.mark.parametrize(
    ("environment", "family"),
    [
        ("1.12", "dnndk"),
        ("1.15", "dnndk"),
        ("1.15", "vitis_ai"),
        ("keras-2.8", "vitis_ai"),
        ("keras-2.8", "vitis_ai_tf2"),
        ("keras-2.12", "vitis_ai"),
        ("keras-2.12", "vitis_ai_tf2"),
    ],
)
def test_every_bundle_passes_its_own_check(environment, family, done_in, export):
    done = done_in(environment)[family]
    assert done.code == 0, done.stderr
    assert "1 input(s), 2 output(s), 3 batches of 4" in done.stdout
    # Nothing is left beside the bundle's own files.
    assert {path.relative_to(done.folder) for path in done.folder.rglob("*")} == {
        path.relative_to(export / family) for path in (export / family).rglob("*")
    }


def test_another_tensorflow_than_that_of_the_release_is_named(done_in):
    done = done_in("1.12")["vitis_ai"]
    assert done.code == 1
    assert "TensorFlow 1.12.3 cannot read optimized_graph.pb, which is for TensorFlow 1.15" in done.stderr
    assert "run this in the container of Vitis AI 3.5" in done.stderr


def renamed_placeholder(folder: Path) -> None:
    graph = GraphDef.FromString((folder / "optimized_graph.pb").read_bytes())
    for node in graph.node:
        node.name = "picture" if node.name == "image" else node.name
        node.input[:] = ["picture" if name == "image" else name for name in node.input]
    (folder / "optimized_graph.pb").write_bytes(graph.SerializeToString())


def without_output(folder: Path) -> None:
    graph = GraphDef.FromString((folder / "optimized_graph.pb").read_bytes())
    del graph.node[[node.name for node in graph.node].index("prob/Softmax")]
    (folder / "optimized_graph.pb").write_bytes(graph.SerializeToString())


def other_weights(folder: Path) -> None:
    graph = GraphDef.FromString((folder / "optimized_graph.pb").read_bytes())
    tensor = (
        next(node for node in graph.node if node.op == "Const" and node.name.startswith("prob")).attr["value"].tensor
    )
    values = np.frombuffer(tensor.tensor_content, np.float32) + np.arange(tensor.tensor_shape.dim[-1].size).repeat(
        len(tensor.tensor_content) // 4 // tensor.tensor_shape.dim[-1].size
    )
    tensor.tensor_content = values.astype(np.float32).tobytes()
    (folder / "optimized_graph.pb").write_bytes(graph.SerializeToString())


def cut(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) * 2 // 3])

    return change


def input_fn(body: str) -> Callable[[Path], None]:
    return lambda folder: (
        (folder / "input_fn.py").write_text(
            f"import numpy as np\n\ndef calib_input(iter):\n    x = np.ones((4, 16, 16, 3), np.float32)\n    {body}\n"
        )
        and None
    )


# Damage -> what check.py says of it.
DAMAGED_GRAPHS: Mapping[str, tuple[Callable[[Path], object], str]] = {
    "placeholder": (renamed_placeholder, "has the placeholders ['picture'], not ['image']"),
    "no output": (without_output, "has no node 'prob/Softmax'"),
    "weights": (other_weights, "'prob/Softmax' differs from its stored values by"),
    "cut": (cut("optimized_graph.pb"), "is cut short or no graph"),
    "outputs cut": (cut("check_outputs.npz"), "check_outputs.npz is cut short or no archive; copy the folder again"),
    "data cut": (cut("calib.npz"), "calib.npz is cut short or no archive"),
    "no input_fn": (lambda folder: (folder / "input_fn.py").unlink(), "input_fn.py is not here; copy the whole folder"),
    "height": (input_fn("return {'image': x[:, :12]}"), "the shape (4, 12, 16, 3) for 'image', not (4, 16, 16, 3)"),
    "batch": (input_fn("return {'image': x[:3]}"), "gives the shape (3, 16, 16, 3)"),
    "name": (input_fn("return {'picture': x}"), "feeds ['picture'], but the inputs are ['image']"),
    "type": (input_fn("return {'image': x.astype(np.uint8)}"), "gives uint8 for 'image', not an array of float32"),
    "nan": (input_fn("return {'image': x * np.nan}"), "that are not finite"),
    "zeros": (input_fn("return {'image': x * 0}"), "nothing but zeros for 'image'"),
    "list": (input_fn("return [x]"), "gives a list, not a dict"),
    "failing": (input_fn("raise IndexError('no image %d' % iter)"), "calib_input(0) fails: IndexError: no image 0"),
}
DAMAGED_MODELS: Mapping[str, tuple[Callable[[Path], object], str]] = {
    "model cut": (cut("float_model.h5"), "cannot open float_model.h5"),
    "channels": (input_fn("return {'image': x[..., :1]}"), "gives the shape (4, 16, 16, 1)"),
    "other data": (input_fn("return {'image': x}"), "differs from its stored values"),
}
PACKAGE = "tensorflow_model_optimization"
STAND_IN = {f"{PACKAGE}/__init__.py": "", f"{PACKAGE}/quantization/__init__.py": ""}
STAND_IN |= {f"{PACKAGE}/quantization/keras/{name}.py": text for name, text in TF2_PACKAGE.items()}
FAMILIES = {family: Case(family) for family in ("dnndk", "vitis_ai", "vitis_ai_tf2")}
CASES: Mapping[str, Mapping[str, Case]] = {
    "1.12": {family: FAMILIES[family] for family in ("dnndk", "vitis_ai")},
    "1.15": {
        **{family: FAMILIES[family] for family in ("dnndk", "vitis_ai")},
        **{name: Case("vitis_ai", damage=damage) for name, (damage, _) in DAMAGED_GRAPHS.items()},
    },
    "keras-2.8": {
        **FAMILIES,
        **{name: Case("vitis_ai_tf2", "quantize.py", damage) for name, (damage, _) in DAMAGED_MODELS.items()},
    },
    "keras-2.12": {
        **FAMILIES,
        "no package": Case("vitis_ai_tf2", "quantize.py"),
        "quantized": Case("vitis_ai_tf2", "quantize.py", modules=STAND_IN),
    },
}


@pytest.mark.parametrize("name", DAMAGED_GRAPHS)
def test_what_does_not_fit_is_named(name, done_in):
    done = done_in("1.15")[name]
    assert done.code == 1
    assert DAMAGED_GRAPHS[name][1] in done.stderr
    assert done.stderr.count("check.py: ") == 1
    assert not done.stdout


@pytest.mark.parametrize("name", DAMAGED_MODELS)
def test_what_does_not_fit_the_keras_model_is_named(name, done_in):
    done = done_in("keras-2.8")[name]
    assert done.code == 1
    assert DAMAGED_MODELS[name][1] in done.stderr


@pytest.mark.parametrize(("family", "environment"), [("dnndk", "1.12"), ("vitis_ai", "1.15")])
def test_the_quantizer_starts_after_the_check(family, environment, export, old_python, tmp_path):
    folder = Path(shutil.copytree(export / family, tmp_path / "my bundle"))
    name, script = {"dnndk": ("decent_q", "decent_q.sh"), "vitis_ai": ("vai_q_tensorflow", "quantize.sh")}[family]
    tool = tmp_path / "bin" / name
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\nprintf "%s\\n" "$@" > called.txt\n')
    tool.chmod(0o755)
    env = {"PATH": f"{tool.parent}:/usr/bin:/bin", "PYTHON": str(old_python(environment))}
    done = subprocess.run([folder / script], cwd=tmp_path, env={**without_tensorflow(), **env}, **QUIET)
    assert done.returncode == 0, done.stderr
    assert "check.py: optimized_graph.pb fits" in done.stdout
    called = (folder / "called.txt").read_text().split("\n")
    assert called[0] == "quantize"
    assert called[called.index("--output_nodes") + 1] == "prob/Softmax,raw/BiasAdd"


def test_the_quantizer_of_tensorflow_2_gets_model_and_data(done_in):
    missing = done_in("keras-2.12")["no package"]
    assert missing.code == 2
    assert "conda activate vitis-ai-tensorflow2" in missing.stderr
    done = done_in("keras-2.12")["quantized"]
    assert done.code == 0, done.stderr
    called = json.loads((done.folder / "called.json").read_text())
    assert (called["shape"], called["dtype"]) == ([12, 16, 16, 3], "float32")
    assert called["settings"] == [{}, {"calib_batch_size": 4}]
    assert (done.folder / "quantize_results" / "quantized_model.h5").is_file()


def test_scripts_are_of_the_containers_python(export, old_python):
    scripts = [str(path) for path in export.glob("*/*.py")]
    assert len(scripts) == 7
    code = "import sys\nfor path in sys.argv[1:]: compile(open(path).read(), path, 'exec')"
    subprocess.run([old_python("1.12"), "-c", code, *scripts], check=True)


@pytest.mark.parametrize(("environment", "release"), [("keras-2.8", "2.8.4"), ("keras-2.12", "2.12.1")])
def test_float_models_predict_in_old_kerases_as_the_model_did(environment, release, done_in, float_models):
    done = done_in(environment)[PREDICTED]
    assert done.code == 0, done.stderr
    for name, outputs in float_models.predicted.items():
        with np.load(float_models.folder / f"{name}.{release}.npz") as file:
            got = [file[f"arr_{i}"] for i in range(len(file.files))]
        assert len(got) == len(outputs)
        for a, b in zip(got, outputs, strict=True):
            assert np.abs(a - b).max() <= 1e-6 * max(1.0, np.abs(b).max()), name


def test_a_model_without_a_form_leaves_the_bundle_out_and_says_why(tmp_path, capsys):
    layers = keras.layers
    x = image = layers.Input((8, 8, 4), name="image")
    x = layers.GroupNormalization(2, name="groups")(layers.Conv2D(4, 3, name="conv")(x))
    model = keras.Model(image, layers.Dense(3, name="raw")(layers.Flatten(name="flat")(x)), name="odd")
    export = run_pipeline(tmp_path, model, "vitis-ai-2.5")
    assert sorted(path.name for path in export.iterdir() if path.is_dir()) == ["dnndk", "vitis_ai"]
    reason = "vitis_ai_tf2/ is left out: model.keras holds 1 layer(s) that Keras 2.8 does not have: groups: GroupNorm"
    assert any(text.startswith(reason) for text in json.loads((export / "stage.json").read_text())["warnings"])


def test_one_key_switches_it_off(export, capsys):
    words = ["--set", "target.vitis_ai_tf2=false", "--only", "export"]
    assert cli.main(["run", str(export.parent.parent / "pipeline.yaml"), *words]) == 0
    assert not (export / "vitis_ai_tf2").exists()
