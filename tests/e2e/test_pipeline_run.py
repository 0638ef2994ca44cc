"""The whole pipeline as its user runs it: real training, real files, every stage."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from dnndk_prep import cli

ROOT = Path(__file__).parents[2]
STAGES = ["train_save", "keras_2_tf", "freeze_graph", "optimize_for_inference", "dpu_check"]
STAGES += ["calib_input", "quantize", "export", "report"]


def pipeline(folder: Path, *words: str, yaml: str = "pipeline.yaml", code: int = 0) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "dnndk_prep", "run", str(folder / yaml), *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def facts(folder: Path, stage: str) -> dict:
    return json.loads((folder / "workspace" / stage / "stage.json").read_text())["facts"]


def artifacts(folder: Path) -> dict[str, str]:
    found = {}
    for stage in STAGES:
        record = json.loads((folder / "workspace" / stage / "stage.json").read_text())
        found |= {f"{stage}/{name}": item["sha256"] for name, item in record["artifacts"].items()}
    return {name: sha for name, sha in found.items() if not name.startswith("report/")}


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the shipped pipeline.yaml has run."""
    folder = tmp_path_factory.mktemp("shipped")
    (folder / "pipeline.yaml").write_text((ROOT / "pipeline.yaml").read_text())
    pipeline(folder)
    return folder


def test_the_shipped_pipeline_reaches_its_accuracy_after_every_graph_stage(shipped: Path):
    for stage in ("keras_2_tf", "freeze_graph", "optimize_for_inference"):
        proof = facts(shipped, stage)["proof"]
        assert proof["accuracy"]["images"] == 2000
        assert proof["accuracy"]["top1"] >= 0.84
        assert proof["test"]["max_abs_diff"] <= 1e-5


def test_the_optimized_graph_is_bare(shipped: Path):
    sys.path.insert(0, str(ROOT))
    from dnndk_prep.graph.artifact import GraphArtifact

    graph = GraphArtifact.load(shipped / "workspace" / "optimize_for_inference")
    ops = {node.op for node in graph.graph_def.node}
    assert ops == {
        "Placeholder", "Const", "Conv2D", "DepthwiseConv2dNative", "BiasAdd", "Relu", "MaxPool", "Reshape", "MatMul",
        "Softmax",
    }  # fmt: skip
    assert graph.input_names == ["input_1"]


def test_every_artifact_of_the_contract_is_there(shipped: Path):
    forms = "k_complete_model.h5 k_model_architecture.json k_model_weights.h5 keras_chkpt.h5 model.keras history.json"
    checkpoint = "tf_chkpt.ckpt.index tf_chkpt.ckpt.data-00000-of-00001 tf_chkpt.ckpt.meta checkpoint"
    wanted = {
        "train_save": forms,
        "keras_2_tf": f"{checkpoint} tf_infer_graph.pb tf_infer_graph.pbtxt op_names.txt graph.json",
        "freeze_graph": "frozen_graph.pb graph.json",
        "optimize_for_inference": "optimized_graph.pb graph.json",
        "dpu_check": "check.json check.txt",
        "calib_input": "calib_list.txt calib.npz input_fn.py",
        "quantize": "positions.json quantize_eval_model.pb quantize_eval_model_stock.pb layer_error.csv graph.json",
        "export/dnndk": "decent_q.sh dnnc.sh check.py input_fn.py README.md",
        "export/vitis_ai": "quantize.sh compile.sh check.py arch.json input_fn.py README.md",
        "export/vitis_ai_tf2": "float_model.h5 quantize.py compile.sh check.py arch.json input_fn.py README.md",
        "report": "report.html report.md report.json",
    }
    for folder, names in wanted.items():
        missing = [name for name in names.split() if not (shipped / "workspace" / folder / name).is_file()]
        assert not missing, folder
    assert len(list((shipped / "workspace" / "calib_input" / "images").glob("*.png"))) == 100


def test_no_artifact_names_a_folder_of_this_machine(shipped: Path):
    for stage in STAGES:
        for path in (shipped / "workspace" / stage).rglob("*"):
            assert path.is_dir() or str(shipped).encode() not in path.read_bytes(), path


def test_a_second_run_runs_nothing_and_is_quick_to_say_so(shipped: Path):
    done = pipeline(shipped)
    assert done.stdout.count("nothing changed") == len(STAGES)


def test_the_report_tells_accuracy_and_nodes(shipped: Path):
    text = (shipped / "workspace" / "report" / "report.md").read_text()
    for stage in STAGES[:-1]:
        assert stage in text
    assert "fold_batch_norms" in text
    assert "%" in text


def test_the_reports_json_follows_its_schema_and_the_page_draws_each_node(shipped: Path):
    folder = shipped / "workspace" / "report"
    told = json.loads((folder / "report.json").read_text())
    jsonschema.validate(told, json.loads((ROOT / "dnndk_prep" / "report" / "schema.json").read_text()))
    assert set(told["accuracy"]) == {"float", "frozen", "optimized", "vendor", "best"}
    assert told["verdict"]["state"] == "ready"
    page = (folder / "report.html").read_text()
    assert page.count('<g class="node"') == len(told["nodes"]) > 15
    assert page.count("data:image/png;base64,") == 100


def test_a_users_model_is_taken_in_unchanged(shipped: Path, tmp_path: Path):
    model = shipped / "workspace" / "train_save" / "k_complete_model.h5"
    (tmp_path / "pipeline.yaml").write_text(
        f"model: {{path: '{model}'}}\npreprocess: {{scale: 0.00392156862745098}}\ntarget: {{board: kv260}}\n"
    )
    pipeline(tmp_path)
    taken = tmp_path / "workspace" / "train_save"
    assert (taken / "k_complete_model.h5").read_bytes() == model.read_bytes()
    assert json.loads((taken / "source.json").read_text())["files"][0]["name"] == "k_complete_model.h5"
    assert not (tmp_path / "workspace" / "export" / "dnndk").exists()
    assert facts(tmp_path, "optimize_for_inference")["proof"]["accuracy"]["top1"] >= 0.84


def test_a_model_that_the_dataset_does_not_fit(tmp_path: Path):
    """The graph stages go through with a random probe; calibration asks for data, and takes an .npz."""
    import keras

    a, b = keras.Input((6,), name="left"), keras.Input((4,), name="right")
    keras.Model([a, b], keras.layers.Dense(3)(keras.layers.Concatenate()([a, b]))).save(tmp_path / "two.keras")
    (tmp_path / "pipeline.yaml").write_text("model: {path: two.keras}\n")
    done = pipeline(tmp_path, code=3)
    accuracy = facts(tmp_path, "optimize_for_inference")["proof"]["accuracy"]
    assert accuracy["top1"] is None
    assert "not measured" in accuracy["reason"]
    assert "calib_input failed" in done.stderr
    random = np.random.default_rng(0)
    np.savez(tmp_path / "calib.npz", left=random.random((120, 6)), right=random.random((120, 4)))
    pipeline(tmp_path, "--set", f"calibration.path={tmp_path / 'calib.npz'}")
    assert (tmp_path / "workspace" / "export" / "vitis_ai" / "quantize.sh").is_file()


FAST = """
dataset: {name: npz, path: ../small.npz}
train_save: {epochs: 2, batch_size: 64}
preprocess: {channels: gray, scale: 0.004}
"""
EXAMPLES, PARTS = 192, ("train", "test")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder beside the data in which a small training went to its end, and on to the frozen graph."""
    parent = tmp_path_factory.mktemp("training")
    sample = np.load(ROOT / "dnndk_prep" / "data" / "fashion_mnist_8k.npz")
    images = {
        f"x_{part}": np.pad(sample[f"x_{part}"][:EXAMPLES], ((0, 0), (2, 2), (2, 2)))[..., None] for part in PARTS
    }
    labels = {f"y_{part}": sample[f"y_{part}"][:EXAMPLES].astype(np.int64) for part in PARTS}
    np.savez(parent / "small.npz", **images, **labels)
    (parent / "whole").mkdir()
    (parent / "whole" / "pipeline.yaml").write_text(FAST)
    pipeline(parent / "whole", "--to", "freeze_graph")
    return parent / "whole"


@pytest.fixture
def copied(undisturbed: Path) -> Iterator[Path]:
    """A copy of the small run beside its data, for tests that run some of it otherwise."""
    folder = Path(shutil.copytree(undisturbed, undisturbed.parent / "copy"))
    yield folder
    shutil.rmtree(folder)


def test_all_three_sources_give_the_same_frozen_graph(copied: Path):
    graphs = [(copied / "workspace" / "freeze_graph" / "frozen_graph.pb").read_bytes()]
    for source in ("checkpoint", "json_weights"):
        pipeline(copied, "--set", f"keras_2_tf.source={source}", "--from", "keras_2_tf", "--to", "freeze_graph")
        graphs.append((copied / "workspace" / "freeze_graph" / "frozen_graph.pb").read_bytes())
    assert len(set(graphs)) == 1


def test_kept_variables_go_through_the_graph_stages(copied: Path):
    done = pipeline(copied, "--set", "freeze_graph.keep_vars=[conv1/kernal]", "--to", "freeze_graph", code=4)
    assert "conv1/kernel" in done.stderr
    done = pipeline(copied, "--set", "freeze_graph.keep_vars=[conv1/kernel]", "--to", "export", code=4)
    assert facts(copied, "freeze_graph")["kept_variables"] == ["conv1/kernel"]
    assert facts(copied, "optimize_for_inference")["proof"]["probe"]["max_abs_diff"] <= 1e-5
    assert "take no graph with variables" in done.stderr


def test_an_interrupted_training_ends_as_an_undisturbed_one(undisturbed: Path):
    broken = undisturbed.parent / "broken"
    broken.mkdir()
    (broken / "pipeline.yaml").write_text(FAST)
    command = [sys.executable, "-m", "dnndk_prep", "run", "pipeline.yaml", "--to", "train_save"]
    process = subprocess.Popen(command, cwd=broken, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert any("epoch 1/2" in line for line in process.stdout)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "train_save interrupted; go on with:" in err
    assert "Traceback" not in err
    done = pipeline(broken, "--to", "train_save")
    assert "training goes on after epoch 1" in done.stdout
    for name in ("k_complete_model.h5", "model.keras", "k_model_weights.h5"):
        whole = (undisturbed / "workspace" / "train_save" / name).read_bytes()
        assert (broken / "workspace" / "train_save" / name).read_bytes() == whole, name


@pytest.mark.parametrize("stage", STAGES[1:])
def test_ctrl_c_in_any_stage_resumes_to_the_same_bytes(shipped: Path, tmp_path: Path, stage: str):
    before = artifacts(shipped)
    words = ["--only", stage, "--force"]
    command = [sys.executable, "-m", "dnndk_prep", "run", "pipeline.yaml", *words]
    process = subprocess.Popen(command, cwd=shipped, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert any(f"{stage}: --force" in line for line in process.stdout)
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode in (0, 130), err
    if process.returncode == 130:
        assert f"{stage} interrupted; go on with:" in err
    pipeline(shipped)
    assert artifacts(shipped) == before


def test_models_that_cannot_go_on_are_one_clear_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    import keras

    monkeypatch.chdir(tmp_path)
    image = keras.Input((8, 8, 3), name="image")
    keras.Model(image, keras.layers.AveragePooling2D(2)(image)).save("bare.h5")
    words = keras.Input((4,), name="words")
    keras.Model(words, keras.layers.Hashing(num_bins=3)(words)).save("words.h5")
    (tmp_path / "pipeline.yaml").write_text("")
    cases = [("bare.h5", 3, "no weights"), ("words.h5", 3, "Hashing")]
    for name, code, words in cases:
        assert cli.main(["run", "--set", f"model.path={name}", "--to", "freeze_graph"]) == code
        error = capsys.readouterr().err
        assert words in error
        assert "Traceback" not in error


def test_bad_inputs_are_one_clear_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cut.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    (tmp_path / "text.h5").write_text("not a model")
    (tmp_path / "images" / "a").mkdir(parents=True)
    (tmp_path / "pipeline.yaml").write_text("")
    folder = ["dataset.name=folder", "dataset.path=images"]
    cases = [
        (["model.path=missing.h5"], 3, "no such file"),
        (["model.path=cut.h5"], 3, "cannot be read as HDF5"),
        (["model.path=text.h5"], 3, "not a complete Keras model"),
        (["workspace=/proc/nowhere"], 2, "cannot be written"),
        (["target.board=zcu1O4"], 2, "zcu104"),
        (folder, 3, "images"),
    ]
    for settings, code, words in cases:
        assert cli.main(["run", *(word for setting in settings for word in ("--set", setting))]) == code
        error = capsys.readouterr().err
        assert words in error
        assert "Traceback" not in error
    (tmp_path / "images" / "b").mkdir()
    for i in range(20):
        (tmp_path / "images" / "ab"[i % 2] / f"{i}.png").write_bytes(b"\x89PNG\r\n\x1a\n cut")
    assert cli.main(["run", "--set", folder[0], "--set", folder[1]]) == 3
    assert ".png" in capsys.readouterr().err
