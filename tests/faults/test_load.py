"""Large numbers: many images, a large model, many models in one process. Memory stays where it is with few."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from figures import Figures
from PIL import Image

MIB = 1 << 20
SIDE = 16
# Beside what a run with few images takes, in MiB: names and labels of 100,000 files, no pixels.
ROOM = 120

# Converts the models of a folder one after another; tells memory in MiB and open files behind each.
MANY = """
import gc, json, os, sys
from pathlib import Path
import dnndk_prep
def now():
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return [pages * os.sysconf("SC_PAGE_SIZE") >> 20, len(os.listdir("/proc/self/fd"))]
told = []
for number in range(int(sys.argv[2])):
    path = sorted(Path(sys.argv[1]).glob("*.h5"))[number % 20]
    graph = dnndk_prep.open_model(path).to_graph().freeze().optimize()
    assert len(graph.artifact.graph_def.node) > 5
    del graph
    told.append(now())
print(json.dumps(told))
"""


def run(folder: Path, cfg: Mapping[str, object], *words: str) -> tuple[int, str]:
    """A run of the pipeline in `folder`: its peak memory in MiB, and what it said. Fails where the run does."""
    (folder / "pipeline.yaml").write_text(json.dumps(cfg))
    command = [sys.executable, "-m", "dnndk_prep", "run", *words]
    with (folder / "said.txt").open("w") as said:
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    text = (folder / "said.txt").read_text()
    assert process.returncode == 0, text[-3000:]
    return usage.ru_maxrss * 1024 // MIB, text


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small convolutional network for images of SIDE pixels."""
    import keras

    path = tmp_path_factory.mktemp("model") / "small.h5"
    layers = keras.layers
    inner = [layers.Conv2D(4, 3, strides=2, activation="relu"), layers.Flatten(), layers.Dense(2, activation="softmax")]
    keras.Sequential([keras.Input((SIDE, SIDE, 3)), *inner]).save(path)
    return path


def images(folder: Path, count: int) -> Path:
    """`count` files in two class folders; a hundred different images, each under many names."""
    random = np.random.default_rng(1)
    for label in range(2):
        (folder / str(label)).mkdir(parents=True)
        for number in range(50):
            pixels = random.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
            Image.fromarray(pixels).save(folder / str(label) / f"{number:06}.png")
        for number in range(50, count // 2):
            os.link(folder / str(label) / f"{number % 50:06}.png", folder / str(label) / f"{number:06}.png")
    return folder


@pytest.mark.faults
def test_a_hundred_thousand_calibration_images(model: Path, figures: Figures, tmp_path: Path):
    peaks = {}
    with figures("Load", "calibration images in a folder: memory beside that of a run with 50") as row:
        for count in (50, 100_000):
            home = tmp_path / str(count)
            # Half of them lie in 0/.
            images(home / "images", 2 * count)
            cfg = {
                "model": {"path": str(model)},
                "dataset": {"name": "none"},
                "calibration": {"path": "images/0", "count": 50, "batch_size": 10},
            }
            peaks[count] = run(home, cfg, "--to", "calib_input")[0]
            row.runs += 1
            row.cases += count
        row.fact("peak with 50 files", f"{peaks[50]} MiB")
        row.fact("with 100,000", f"{peaks[100_000]} MiB")
        assert peaks[100_000] < peaks[50] + ROOM


@pytest.mark.faults
def test_fifty_thousand_test_images(model: Path, figures: Figures, tmp_path: Path):
    peaks = {}
    with figures("Load", "test images: memory of the graph stages beside that of a run with 100") as row:
        for count in (100, 50_000):
            home = tmp_path / str(count)
            images(home / "images" / "test", count)
            images(home / "images" / "train", 100)
            cfg = {"model": {"path": str(model)}, "dataset": {"name": "folder", "path": "images"}}
            cfg["preprocess"] = {"channels": "rgb", "scale": 0.004}
            peaks[count] = run(home, cfg, "--to", "freeze_graph")[0]
            record = json.loads((home / "workspace" / "freeze_graph" / "stage.json").read_text())
            assert record["facts"]["proof"]["accuracy"]["images"] == count
            row.runs += 1
            row.cases += count
        row.fact("peak with 100 images", f"{peaks[100]} MiB")
        row.fact("with 50,000", f"{peaks[50_000]} MiB")
        assert peaks[50_000] < peaks[100] + ROOM


@pytest.mark.faults
def test_a_model_of_one_and_a_half_gigabytes(figures: Figures, tmp_path: Path):
    import h5py
    import keras

    width = 19_400
    image = keras.Input((width,), name="vector")
    hidden = keras.layers.Dense(width, use_bias=False, name="large")(image)
    architecture = keras.Model(image, keras.layers.Dense(2, name="small")(hidden)).to_json()
    (tmp_path / "large.json").write_text(architecture)
    random = np.random.default_rng(2)
    with h5py.File(tmp_path / "large.h5", "w") as file:
        # The layout of Keras 2: the file is written without a model of that size.
        file.attrs["layer_names"] = [b"large", b"small"]
        file.attrs["backend"], file.attrs["keras_version"] = b"tensorflow", b"2.12.0"
        bias = np.zeros(2, np.float32)
        shapes = {"large": (width, width), "small": (width, 2)}
        for name, shape in shapes.items():
            group = file.create_group(name)
            group[f"{name}/kernel:0"] = random.random(shape, np.float32)
            if name == "small":
                group[f"{name}/bias:0"] = bias
            group.attrs["weight_names"] = [f"{name}/{key}".encode() for key in sorted(group[name], reverse=True)]
    size = (tmp_path / "large.h5").stat().st_size
    with figures("Load", "a model of 1.5 GB to the optimized graph") as row:
        row.runs = row.cases = 1
        cfg = {"model": {"architecture": "large.json", "weights": "large.h5"}, "dataset": {"name": "none"}}
        peak, _ = run(tmp_path, cfg, "--to", "optimize_for_inference")
        row.fact("the file", f"{size / MIB:,.0f} MiB")
        row.fact("peak", f"{peak:,} MiB")
        assert peak < 4.5 * size / MIB


@pytest.mark.faults
def test_three_hundred_models_in_one_process(figures: Figures, tmp_path: Path):
    import keras

    layers = keras.layers
    for number in range(20):
        image = keras.Input((SIDE, SIDE, 3))
        x = layers.Conv2D(4 + number, 3, padding="same")(image)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling2D()(x))
        keras.Model(image, x).save(tmp_path / f"{number:02}.h5")
    with figures("Load", "small models one after another in one process") as row:
        command = [sys.executable, "-c", MANY, str(tmp_path), "300"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, done.stderr[-3000:]
        told = json.loads(done.stdout.splitlines()[-1])
        row.runs = row.cases = len(told)
        (early, files), (late, files_late) = told[49], told[299]
        row.fact("memory after 50 models", f"{early} MiB")
        row.fact("after 300", f"{late} MiB")
        row.fact("open files after 50 and 300", f"{files} and {files_late}")
        assert files_late <= files
        assert late < early + 60
