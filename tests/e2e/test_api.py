"""The Python API gives what the command line gives, from files and from live models; the notebook runs."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pytest
import tf_keras

import dnndk_prep
from dnndk_prep import cli
from dnndk_prep.errors import ModelFileError, UnsafeFileError, UsageError

NOTEBOOK = Path(__file__).parents[2] / "docs" / "tutorials" / "api.ipynb"
IMAGES = np.random.default_rng(0).integers(0, 256, (24, 8, 8, 3), dtype=np.uint8)
SCALE = {"channels": "rgb", "scale": 1 / 255}


@pytest.fixture(scope="module")
def net() -> keras.Model:
    layers = keras.layers
    image = layers.Input((8, 8, 3), name="image")
    x = layers.BatchNormalization(name="norm")(layers.Conv2D(4, 3, name="conv")(image))
    return keras.Model(image, layers.Dense(3, activation="softmax", name="prob")(layers.Flatten()(x)), name="my_net")


@pytest.fixture(scope="module")
def frozen(net: keras.Model) -> dnndk_prep.FrozenGraph:
    return dnndk_prep.open_model(net, preprocess=SCALE).to_graph(outputs={"prob": "scores"}).freeze(reader="1.15")


def test_it_writes_what_the_command_line_writes(net: keras.Model, frozen: dnndk_prep.FrozenGraph, tmp_path: Path):
    net.save(tmp_path / "my_net.keras")
    np.savez(tmp_path / "calib.npz", image=IMAGES)
    (tmp_path / "p.yaml").write_text(
        "model: {path: my_net.keras}\ndataset: {name: none}\npreprocess: {channels: rgb, scale: 0.00392156862745098}\n"
        "graph: {reader: '1.15', outputs: {prob: scores}}\ncalibration: {path: calib.npz, count: 20}\n"
        "target: {board: ultra96, toolchain: vitis-ai-1.2}\n"
    )
    assert cli.main(["run", str(tmp_path / "p.yaml"), "--log-format", "text"]) == 0
    optimized = frozen.optimize()
    bundle = optimized.export(tmp_path / "out", "ultra96", "vitis-ai-1.2", calib=IMAGES, count=20)
    workspace = tmp_path / "workspace"
    for step in (frozen, optimized):
        (graph,) = step.folder.glob("*.pb")
        assert graph.read_bytes() == (workspace / step.folder.name / graph.name).read_bytes()
    written = sorted(path.relative_to(bundle) for path in bundle.rglob("*") if path.is_file())
    assert Path("vitis_ai/quantize.sh") in written
    for name in written:
        if name.name != "stage.json":
            assert (bundle / name).read_bytes() == (workspace / "export" / name).read_bytes(), name


def test_a_step_can_be_gone_on_from_twice(frozen: dnndk_prep.FrozenGraph, net: keras.Model, tmp_path: Path):
    before = frozen.graph_def.SerializeToString(deterministic=True)
    plain, own = frozen.optimize(), frozen.optimize(unshare=True)
    assert plain.folder != own.folder
    assert frozen.graph_def.SerializeToString(deterministic=True) == before
    assert [spec.name for spec in plain.inputs + plain.outputs] == ["image", "scores"]
    assert plain.inputs[0].shape == (None, 8, 8, 3)
    assert plain.facts["nodes"]["after"] < frozen.facts["nodes"]["after"]
    kept = plain.save(tmp_path / "kept")
    assert sorted(path.name for path in kept.iterdir()) == ["graph.json", "optimized_graph.pb", "stage.json"]
    with pytest.raises(UsageError, match="not empty"):
        plain.save(kept)
    assert plain.check("zcu104").subgraphs
    with pytest.raises(UsageError, match="zcu104"):
        plain.check("zcu1O4")


def test_quantizing_and_exporting_the_same_data(frozen: dnndk_prep.FrozenGraph, tmp_path: Path):
    optimized = frozen.optimize()
    quantized = optimized.quantize(IMAGES, count=20, method=0)
    assert quantized.positions["settings"]["method"] == 0
    assert quantized.facts["fix_neurons"] > 3
    assert (quantized.save(tmp_path / "q") / "quantize_eval_model.pb").is_file()
    bundle = quantized.export(tmp_path / "a", "kv260", "vitis-ai-2.5")
    direct = optimized.export(tmp_path / "b", "kv260", "vitis-ai-2.5", calib=IMAGES, count=20)
    names = [path.relative_to(bundle) for path in bundle.rglob("*") if path.is_file() and path.name != "stage.json"]
    assert all((bundle / name).read_bytes() == (direct / name).read_bytes() for name in names)
    with pytest.raises(UsageError, match=r"quantize\.metod"):
        optimized.quantize(IMAGES, count=20, metod=0)


def test_data_measure_the_accuracy(net: keras.Model, tmp_path: Path):
    x, y = IMAGES / np.float32(255), np.arange(24) % 3
    np.savez(tmp_path / "d.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    said: list[str] = []
    graph = dnndk_prep.open_model(net, data=tmp_path / "d.npz", say=said.append).to_graph()
    wanted = float((net.predict(x, verbose=0).argmax(-1) == y).mean())
    assert graph.facts["proof"]["accuracy"]["top1"] == pytest.approx(wanted)
    bundle = graph.freeze().optimize().export(tmp_path / "b", "zedboard", count=10)
    assert (bundle / "dnndk" / "decent_q.sh").is_file()
    assert any(line.startswith("export: dnndk/") for line in said)


def test_a_live_model_of_keras_2(tmp_path: Path):
    image = tf_keras.Input((6,), name="image")
    optimized = dnndk_prep.open_model(tf_keras.Model(image, tf_keras.layers.Dense(2, name="d")(image))).to_graph()
    assert [spec.name for spec in optimized.outputs] == ["d/BiasAdd"]


def test_a_graph_that_is_frozen_begins_there(frozen: dnndk_prep.FrozenGraph, tmp_path: Path):
    graph = frozen.save(tmp_path / "g") / "frozen_graph.pb"
    opened = dnndk_prep.open_model(graph).to_graph()
    with pytest.raises(UsageError, match="freeze"):
        _ = opened.inputs
    assert opened.freeze().optimize().outputs[0].name == "scores"


def test_mistakes_are_our_errors(net: keras.Model, frozen: dnndk_prep.FrozenGraph, tmp_path: Path):
    with pytest.raises(UsageError, match="path of a model, or a Keras model"):
        dnndk_prep.open_model(3)
    with pytest.raises(ModelFileError, match="no such file"):
        dnndk_prep.open_model(tmp_path / "none.h5")
    with pytest.raises(UsageError, match=r"preprocess\.scael"):
        dnndk_prep.open_model(net, preprocess={"scael": 1.0})
    with pytest.raises(UsageError, match="imagee"):
        dnndk_prep.open_model(net).to_graph(inputs={"imagee": "x"})
    with pytest.raises(ModelFileError, match="no data are given"):
        frozen.optimize().export(tmp_path / "b", "zcu104")
    with pytest.raises(ModelFileError, match="do not fit"):
        frozen.optimize().export(tmp_path / "b", "zcu104", calib=IMAGES[:, :5])
    with pytest.raises(UsageError, match="there is no board"):
        frozen.optimize().export(tmp_path / "b", "zcu999", calib=IMAGES)
    assert not (tmp_path / "b").exists()
    image = keras.Input((2,))
    code = keras.Model(image, keras.layers.Lambda(lambda x: x * 2)(image), name="code")
    with pytest.raises(UnsafeFileError):
        dnndk_prep.open_model(code)


def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.chdir(tmp_path)
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    assert all(not cell["outputs"] for cell in cells if cell["cell_type"] == "code")
    names: dict[str, object] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    said = capsys.readouterr().out
    assert "difference to Keras: " in said
    assert "quantize.sh" in said
    assert (tmp_path / "bundle" / "vitis_ai" / "compile.sh").is_file()
