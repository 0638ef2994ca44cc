"""Every kind of dataset from training to the bundle, on little data."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dnndk_prep import cli

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


@pytest.mark.parametrize("make", [folder, masks, cifar10, imdb, npz], ids=lambda make: make.__name__)
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
