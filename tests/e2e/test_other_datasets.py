"""Every kind of dataset from training to the bundle, on little data."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dnndk_prep import cli
from dnndk_prep.graph.artifact import GraphArtifact
from dnndk_prep.graph.run import GraphRunner

RANDOM = np.random.default_rng(1)


def pictures(folder: Path, classes: int = 2, each: int = 12) -> Path:
    for name in range(classes):
        (folder / f"class{name}").mkdir(parents=True)
        for i in range(each):
            pixels = RANDOM.integers(0, 255, (20, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"class{name}" / f"{i}.png")
    return folder


def folder(tmp_path: Path) -> str:
    pictures(tmp_path / "images")
    return "dataset: {name: folder, path: images}\npreprocess: {resize: [16, 16], mode: tf}\n"


def masks(tmp_path: Path) -> str:
    pictures(tmp_path / "images", classes=1)
    for image in (tmp_path / "images").rglob("*.png"):
        mask = tmp_path / "masks" / image.relative_to(tmp_path / "images")
        mask.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(RANDOM.integers(0, 3, (20, 24), dtype=np.uint8)).save(mask)
    return "dataset: {name: folder, path: images, masks: masks}\npreprocess: {resize: [16, 16], mode: caffe}\n"


def cifar10(tmp_path: Path) -> str:
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        batch = {
            b"data": RANDOM.integers(0, 255, (10, 3072), dtype=np.uint8),
            b"labels": list(range(10)),
            b"batch_label": name.encode(),
            b"filenames": [b"x.png"] * 10,
        }
        (tmp_path / name).write_bytes(pickle.dumps(batch, protocol=2))
    names = {b"label_names": [f"c{i}".encode() for i in range(10)], b"num_cases_per_batch": 10, b"num_vis": 3072}
    (tmp_path / "batches.meta").write_bytes(pickle.dumps(names, protocol=2))
    return "dataset: {name: cifar10, path: .}\npreprocess: {mode: torch}\n"


def imdb(tmp_path: Path) -> str:
    reviews = np.empty(24, object)
    reviews[:] = [RANDOM.integers(1, 500, RANDOM.integers(3, 99)).tolist() for _ in range(24)]
    labels = np.arange(24) % 2
    np.savez(tmp_path / "imdb.npz", x_train=reviews, y_train=labels, x_test=reviews, y_test=labels)
    return "dataset: {name: imdb, path: imdb.npz}\n"


def npz(tmp_path: Path) -> str:
    x, y = RANDOM.random((40, 10)).astype(np.float32), np.arange(40) % 2
    np.savez(tmp_path / "data.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    return "dataset: {name: npz, path: data.npz}\n"


def test_an_lstm_is_frozen_and_the_bundle_tells_why_no_dpu_takes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """A loop as plain nodes of TensorFlow 1; unrolled, no loop is left."""
    yaml = tmp_path / "pipeline.yaml"
    yaml.write_text(
        imdb(tmp_path) + "train_save: {epochs: 1, batch_size: 8}\ncalibration: {count: 10, batch_size: 5}\n"
    )
    assert cli.main(["run", str(yaml)]) == 4
    text = capsys.readouterr().err
    assert "no DPU of these toolchains runs the recurrent layers of this model: lstm" in text
    assert "target.bundles: false" in text
    graph = GraphArtifact.load(tmp_path / "workspace" / "optimize_for_inference")
    assert not graph.graph_def.library.function
    assert {"Enter", "Exit"} <= {node.op for node in graph.graph_def.node}
    words = np.random.default_rng(2).integers(1, 500, (3, 80)).astype(np.float32)
    with GraphRunner(graph.graph_def, graph.output_names) as runner:
        looped = runner.run({graph.input_names[0]: words})[0]
    arguments = ["--set", "keras_2_tf.unroll=true", "--to", "optimize_for_inference"]
    assert cli.main(["run", str(yaml), *arguments]) == 0, capsys.readouterr().err
    graph = GraphArtifact.load(tmp_path / "workspace" / "optimize_for_inference")
    assert not {"Enter", "LoopCond", "TensorArrayV3"} & {node.op for node in graph.graph_def.node}
    with GraphRunner(graph.graph_def, graph.output_names) as runner:
        assert np.abs(runner.run({graph.input_names[0]: words})[0] - looped).max() < 1e-5


@pytest.mark.parametrize("make", [folder, masks, cifar10, npz], ids=lambda make: make.__name__)
def test_from_training_to_the_bundle(tmp_path: Path, make, capsys: pytest.CaptureFixture[str]):
    yaml = tmp_path / "pipeline.yaml"
    yaml.write_text(
        make(tmp_path) + "train_save: {epochs: 1, batch_size: 8}\ncalibration: {count: 10, batch_size: 5}\n"
    )
    assert cli.main(["run", str(yaml)]) == 0, capsys.readouterr().err
    workspace = tmp_path / "workspace"
    record = json.loads((workspace / "optimize_for_inference" / "stage.json").read_text())
    assert record["facts"]["proof"]["accuracy"]["top1"] is not None
    assert (workspace / "export" / "vitis_ai" / "quantize.sh").is_file()
    assert "10 calibration examples are few" in capsys.readouterr().out
