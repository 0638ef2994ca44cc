"""`inspect` on files written by hand: no Keras and no TensorFlow is needed to tell what they hold."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from dnndk_prep import cli
from dnndk_prep.errors import ModelFileError, UnsafeFileError
from dnndk_prep.keras_io.facts import inspect_model

TEXT = h5py.string_dtype()


def layer(kind: str, name: str, calls: list[Any] | None = None, **settings: Any) -> dict[str, Any]:
    config = {"name": name, "trainable": True, **settings}
    return {"class_name": kind, "name": name, "config": config, "inbound_nodes": calls or []}


KERAS2 = {
    "class_name": "Functional",
    "keras_version": "2.8.0",
    "backend": "tensorflow",
    "config": {
        "name": "net",
        "layers": [
            layer("InputLayer", "image", batch_input_shape=[None, 8, 8, 3]),
            layer("Conv2D", "block/conv", [[["image", 0, 0, {}]]], filters=2, kernel_size=[3, 3]),
            layer("Flatten", "flat", [[["block/conv", 0, 0, {}]]]),
            layer("Dense", "block", [[["flat", 0, 0, {}]]], units=4),
        ],
        "input_layers": [["image", 0, 0]],
        "output_layers": [["block", 0, 0]],
    },
}
WEIGHTS = {
    "block/conv": {"block/conv/kernel:0": (3, 3, 3, 2), "block/conv/bias:0": (2,)},
    "block": {"block/kernel:0": (72, 4), "block/bias:0": (4,)},
}


def write_weights(group: h5py.Group) -> None:
    group.attrs["layer_names"] = [name.encode() for name in WEIGHTS]
    for name, shapes in WEIGHTS.items():
        group.require_group(name).attrs["weight_names"] = [key.encode() for key in shapes]
        for key, shape in shapes.items():
            group[name][key] = np.ones(shape, np.float32)


@pytest.fixture
def complete(tmp_path: Path) -> Path:
    with h5py.File(tmp_path / "net.h5", "w") as file:
        file.attrs["model_config"] = json.dumps(KERAS2)
        file.attrs["keras_version"], file.attrs["backend"] = "2.8.0", "tensorflow"
        write_weights(file.create_group("model_weights"))
        file["optimizer_weights/block/m"] = np.ones((72, 4), np.float32)
    return tmp_path / "net.h5"


def test_a_complete_hdf5_file(complete: Path):
    facts = inspect_model(complete)
    assert (facts.kind, facts.keras_version, facts.backend) == ("complete model (HDF5)", "2.8.0", "tensorflow")
    assert facts.parameters == 56 + 292
    assert [(one.name, one.kind, one.parameters) for one in facts.layers] == [
        ("image", "InputLayer", 0),
        ("block/conv", "Conv2D", 56),
        ("flat", "Flatten", 0),
        ("block", "Dense", 292),
    ]
    assert [(one.name, one.shape) for one in facts.inputs] == [("image", [None, 8, 8, 3])]
    assert [one.name for one in facts.outputs] == ["block"]


def test_weights_alone(tmp_path: Path):
    with h5py.File(tmp_path / "w.bin", "w") as file:
        write_weights(file)
    facts = inspect_model(tmp_path / "w.bin")
    assert facts.kind == "weights (HDF5)"
    assert facts.parameters == 348
    assert facts.inputs == facts.outputs == ()


def test_an_architecture_alone(tmp_path: Path):
    (tmp_path / "net.json").write_text(json.dumps(KERAS2))
    facts = inspect_model(tmp_path / "net.json")
    assert (facts.kind, facts.keras_version, facts.parameters) == ("architecture (JSON)", "2.8.0", None)
    assert [one.parameters for one in facts.layers] == [None] * 4


def test_a_list_of_layers_of_the_first_keras_2(tmp_path: Path):
    layers = [
        {"class_name": "Dense", "config": {"name": "a", "batch_input_shape": [None, 4], "units": 2}},
        {"class_name": "Dense", "config": {"name": "b", "units": 2}},
    ]
    (tmp_path / "net.json").write_text(json.dumps({"class_name": "Sequential", "config": layers}))
    facts = inspect_model(tmp_path / "net.json")
    assert [(one.name, one.shape) for one in facts.inputs] == [("a", [None, 4])]
    assert [one.name for one in facts.outputs] == ["b"]


def tensor(name: str, shape: list[Any]) -> dict[str, Any]:
    config = {"shape": shape, "dtype": "float32", "keras_history": [name, 0, 0]}
    return {"class_name": "__keras_tensor__", "config": config}


def archive(folder: Path) -> Path:
    nodes = [{"args": [tensor("x", [None, 4])], "kwargs": {}}]
    times = {"module": "keras.src.ops.numpy", "class_name": "Multiply", "name": "times", "registered_name": "Multiply"}
    times |= {
        "config": {"name": "times"},
        "inbound_nodes": [{"args": [tensor("a", [None, 3]), 2.0], "kwargs": {}}],
    }
    config = {
        "module": "keras.src.models.functional",
        "class_name": "Functional",
        "config": {
            "name": "net",
            "layers": [
                {"module": "keras.layers", **layer("InputLayer", "x", batch_shape=[None, 4])},
                {"module": "keras.layers", **layer("Dense", "a", nodes, units=3)},
                times,
                {
                    "module": "keras.layers",
                    **layer("Dense", "b", [{"args": [tensor("times", [None, 3])], "kwargs": {}}], units=2),
                },
            ],
            "input_layers": ["x", 0, 0],
            "output_layers": ["b", 0, 0],
        },
    }
    with h5py.File(folder / "w.h5", "w") as file:
        for name, shapes in {"dense": [(4, 3), (3,)], "dense_1": [(3, 2), (2,)]}.items():
            for i, shape in enumerate(shapes):
                file[f"layers/{name}/vars/{i}"] = np.ones(shape, np.float32)
        file["layers/dropout/seed_generator/vars/0"] = np.ones(2, np.uint32)
        file["optimizer/vars/0"] = np.ones(100, np.float32)
    with zipfile.ZipFile(folder / "net.zip", "w") as file:
        file.writestr("config.json", json.dumps(config))
        file.writestr("metadata.json", json.dumps({"keras_version": "3.13.2"}))
        file.write(folder / "w.h5", "model.weights.h5")
    return folder / "net.zip"


def test_an_archive_of_keras_3(tmp_path: Path):
    facts = inspect_model(archive(tmp_path))
    assert (facts.kind, facts.keras_version) == ("complete model (.keras archive)", "3.13.2")
    assert facts.parameters == 15 + 8
    assert [(one.name, one.kind, one.output_shape, one.parameters) for one in facts.layers] == [
        ("x", "InputLayer", [None, 4], 0),
        ("a", "Dense", [None, 3], 15),
        ("times", "Multiply (operation)", [None, 3], 0),
        ("b", "Dense", None, 8),
    ]


def test_the_command_prints_text_and_json(complete: Path, capsys: pytest.CaptureFixture):
    assert cli.main(["inspect", str(complete)]) == 0
    text = capsys.readouterr().out
    for words in ("Keras:       2.8.0, backend tensorflow", "parameters:  348", "image (?, 8, 8, 3)", "Conv2D"):
        assert words in text
    assert cli.main(["inspect", str(complete), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["layers"][1]["name"] == "block/conv"


def test_an_unsafe_file_is_exit_6(tmp_path: Path, capsys: pytest.CaptureFixture):
    evil = {"class_name": "Sequential", "config": {"layers": [layer("Lambda", "evil", function=["4wEAAA=="])]}}
    (tmp_path / "net.json").write_text(json.dumps(evil))
    with pytest.raises(UnsafeFileError):
        inspect_model(tmp_path / "net.json")
    assert cli.main(["inspect", str(tmp_path / "net.json")]) == 6
    assert "Lambda in evil" in capsys.readouterr().err


def test_it_answers_without_tensorflow_and_keras(complete: Path):
    code = (
        "import sys; from dnndk_prep import cli; cli.main(sys.argv[1:]); "
        "print([name for name in ('tensorflow', 'keras', 'tf_keras') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, "inspect", complete], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def written(folder: Path, config: Any, **more: Any) -> Path:
    (folder / "net.json").write_text(json.dumps({"class_name": "Sequential", "config": config, **more}))
    return folder / "net.json"


def test_a_long_name_does_not_widen_the_table(tmp_path: Path):
    layers = [layer("ReLU", "n" * 10**6), *(layer("ReLU", "r") for _ in range(6000))]
    text = inspect_model(written(tmp_path, {"layers": layers})).as_text()
    assert max(map(len, text.splitlines())) < 200
    assert len(text) < 10**6


def test_nothing_of_the_file_controls_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture):
    name = "\x1b[2J\x1b]0;title\x07\nfile:  fake"
    path = written(tmp_path, {"layers": [layer("ReLU", name, batch_input_shape=[None, "\x1b[31m"])]})
    assert cli.main(["inspect", str(path)]) == 0
    said = capsys.readouterr().out
    assert all(sign.isprintable() or sign == "\n" for sign in said)
    assert not any(line.startswith("file:  fake") for line in said.splitlines())
    assert cli.main(["inspect", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["layers"][0]["name"] == name


KERAS_TENSOR = {"class_name": "__keras_tensor__"}
CONFUSED: list[Any] = [
    5,
    {"layers": 5},
    {"layers": [{**layer("ReLU", "a"), "inbound_nodes": [{"args": [KERAS_TENSOR], "kwargs": {}}]}]},
    {
        "layers": [
            {
                **layer("ReLU", "a"),
                "inbound_nodes": [{"args": [{**KERAS_TENSOR, "config": {"shape": [1], "keras_history": [[], 0, 0]}}]}],
            }
        ]
    },
]


@pytest.mark.parametrize("config", CONFUSED)
def test_other_types_than_keras_writes(tmp_path: Path, config: Any):
    with pytest.raises(ModelFileError):
        inspect_model(written(tmp_path, config)).as_text()


def test_a_shape_that_is_none(tmp_path: Path):
    layers = [layer("ReLU", "a"), {**layer("ReLU", "b"), "build_config": {"input_shape": 5}}]
    facts = inspect_model(written(tmp_path, {"layers": layers, "build_input_shape": 7}))
    assert [one.shape for one in (*facts.inputs, *facts.outputs)] == [None, None]
    assert "input:" in facts.as_text()


def test_many_layers_and_many_weights(tmp_path: Path):
    """Each weight is not held against each layer: 15 000 layers with 1 000 weights."""
    config = {"layers": [{"class_name": "ReLU", "config": {"name": f"r{i}"}} for i in range(15_000)]}
    with h5py.File(tmp_path / "net.h5", "w") as file:
        file.attrs.create("model_config", json.dumps({"class_name": "Sequential", "config": config}), dtype=TEXT)
        for number in range(1000):
            file[f"model_weights/r{number}/x"] = np.ones(1, np.float32)
    start = time.process_time()
    assert inspect_model(tmp_path / "net.h5").layers[7].parameters == 1
    assert time.process_time() - start < 3
