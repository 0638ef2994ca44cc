"""What a newcomer meets first: `init`, `schema`, `explain`, help at once, and errors with a code."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import jsonschema
import numpy as np
import pytest
import yaml
from test_inspect import KERAS2, WEIGHTS, layer

from dnndk_prep import cli
from dnndk_prep.config import Config
from dnndk_prep.config_file import load_config
from dnndk_prep.dpu import targets
from dnndk_prep.errors import DnndkPrepError
from dnndk_prep.explain import codes
from dnndk_prep.schema import FILE, MODELINE, keys_of, schema

ROOT = Path(__file__).parents[2]
SHIPPED = [ROOT / "pipeline.yaml", *sorted((ROOT / "docs" / "tutorials").glob("*/*.yaml"))]


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft7Validator:
    whole = schema()
    jsonschema.Draft7Validator.check_schema(whole)
    return jsonschema.Draft7Validator(whole)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def hdf5(path: Path, model: Any, weights: dict[str, dict[str, tuple[int, ...]]]) -> None:
    """A file of Keras 2 as far as a scan looks; without a model, weights alone."""
    with h5py.File(path, "w") as file:
        if model is not None:
            file.attrs["model_config"] = json.dumps(model)
            file.attrs["keras_version"], file.attrs["backend"] = "2.8.0", "tensorflow"
        group = file if model is None else file.create_group("model_weights")
        group.attrs["layer_names"] = [name.encode() for name in weights]
        for name, shapes in weights.items():
            group.require_group(name).attrs["weight_names"] = [key.encode() for key in shapes]
            for key, shape in shapes.items():
                group[name][key] = np.ones(shape, np.float32)


def first(here: Path, *words: str, code: int = 0) -> Any:
    """What `init` wrote, after `check` and the schema have passed it."""
    assert cli.main(["init", *words]) == code
    load_config(here / "pipeline.yaml")
    data = yaml.safe_load((here / "pipeline.yaml").read_text())
    jsonschema.Draft7Validator(json.loads((here / FILE).read_text())).validate(data)
    return data


# --- schema


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_schema_takes_what_ships(path: Path, validator: jsonschema.Draft7Validator):
    validator.validate(yaml.safe_load(path.read_text()))


@pytest.mark.parametrize(
    "text",
    [
        "sead: 1",
        "target: {bord: zcu104}",
        "target: {board: zcu999}",
        "target: {toolchain: vitis-ai-9}",
        "train_save: {epochs: many}",
        "train_save: {epochs: 0}",
        "graph: {reader: 1.9}",
        "model: {weights: w.h5}",
        "model: {custom_objects: my_layers}",
        "dataset: {name: mnist}",
        "preprocess: {resize: [8]}",
        "preprocess: {resize: [8, 8, 3]}",
        "preprocess: {channels: grey}",
        "keras_2_tf: {unroll: 1}",
        "saved_model: {tags: []}",
    ],
)
def test_the_schema_refuses_what_the_loader_refuses(text: str, tmp_path: Path, validator: jsonschema.Draft7Validator):
    assert not validator.is_valid(yaml.safe_load(text))
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(DnndkPrepError) as caught:
        load_config(tmp_path / "p.yaml")
    assert caught.value.code == "K2D-0026"


def test_the_schema_takes_empty_sections_and_defaults(validator: jsonschema.Draft7Validator):
    validator.validate({name: None for name in schema()["properties"] if name not in ("workspace", "seed")})
    defaults = {name: item["default"] for name, item in schema()["properties"].items()}
    validator.validate(defaults)
    for name in Config.model_fields:
        if keys := keys_of(name, schema()):
            validator.validate({name: {key: item["default"] for key, item in keys.items()}})


def test_every_key_says_what_it_is():
    whole = schema()
    assert set(whole["properties"]) == set(Config.model_fields)
    for name, item in whole["properties"].items():
        assert len(item["description"]) > 10, name
        for key, about in (keys_of(name, whole) or {}).items():
            assert len(about.get("description", "")) > 5, f"{name}.{key}"
            assert "\n" not in about["description"]
            assert "default" in about
            assert "title" not in about


def test_choices_are_those_of_the_tables():
    keys = keys_of("target", schema()) or {}
    assert keys["board"]["anyOf"][0]["enum"] == [board.name for board in targets.boards()]
    assert keys["toolchain"]["anyOf"][0]["enum"] == list(targets.releases())
    assert (keys_of("dataset", schema()) or {})["name"]["enum"][0] == "fashion_mnist_sample"


def test_examples_can_be_written_as_they_are(validator: jsonschema.Draft7Validator):
    for name in schema()["properties"]:
        for key, item in (keys_of(name, schema()) or {}).items():
            extra = {"weights": "w.h5"} if key == "architecture" else {"architecture": "a.json"}
            for example in item.get("examples", []):
                validator.validate({name: {key: example, **(extra if key in ("architecture", "weights") else {})}})


# --- init


def test_without_a_model_every_key_is_there_with_its_default(here: Path, capsys: pytest.CaptureFixture[str]):
    data = first(here)
    text = (here / "pipeline.yaml").read_text()
    assert text.startswith(f"{MODELINE}\n")
    for name in Config.model_fields:
        for key in keys_of(name, schema()) or {}:
            assert re.search(rf"^#?  {key}: ", text, re.M), f"{name}.{key}"
    cfg, plain = load_config(here / "pipeline.yaml"), load_config(ROOT / "pipeline.yaml")
    assert {**cfg.model_dump(), "workspace": plain.workspace} == plain.model_dump()
    assert data["preprocess"] == {"channels": "rgb", "scale": 1 / 255}
    assert "dnndk-prep run" in capsys.readouterr().out


def test_nothing_is_written_over(here: Path, capsys: pytest.CaptureFixture[str]):
    (here / "pipeline.yaml").write_text("seed: 3\n")
    assert cli.main(["init"]) == 2
    assert "K2D-0032" in capsys.readouterr().err
    assert (here / "pipeline.yaml").read_text() == "seed: 3\n"
    assert first(here, "--force")["seed"] == 0


def test_a_model_of_images(here: Path, capsys: pytest.CaptureFixture[str]):
    (here / "models").mkdir()
    hdf5(here / "models" / "net.h5", KERAS2, WEIGHTS)
    data = first(here, "models/net.h5")
    text = (here / "pipeline.yaml").read_text()
    assert data["model"] == {"path": "models/net.h5"}
    assert data["preprocess"] == {"resize": [8, 8], "channels": "rgb", "scale": 1 / 255}
    assert (data["dataset"], data["calibration"]["path"]) == ({"name": "none"}, "my_images")
    assert "# The model: net.h5, complete model (HDF5) of Keras 2.8.0; 348 parameters" in text
    assert "#   input image [?, 8, 8, 3]" in text
    assert "a guess: nothing in the file tells" in text
    assert "my_images" in capsys.readouterr().out


def net(name: str, *layers: dict[str, Any], shape: tuple[Any, ...] = (None, 8, 8, 3)) -> dict[str, Any]:
    inner = [layer("InputLayer", "image", batch_input_shape=list(shape)), *layers]
    config = {"name": name, "layers": inner, "input_layers": [["image", 0, 0]]}
    config["output_layers"] = [[inner[-1]["name"], 0, 0]]
    return {"class_name": "Functional", "keras_version": "2.8.0", "config": config}


AFTER = [[["image", 0, 0, {}]]]


@pytest.mark.parametrize(
    ("model", "wanted", "reason"),
    [
        (net("resnet50", layer("Flatten", "f", AFTER)), {"resize": [8, 8], "mode": "caffe"}, "called 'resnet50'"),
        (net("resnet50v2", layer("Flatten", "f", AFTER)), {"resize": [8, 8], "mode": "tf"}, "keras.applications"),
        (net("densenet121", layer("Flatten", "f", AFTER)), {"resize": [8, 8], "mode": "torch"}, "densenet121"),
        (
            net("vgg16", layer("Rescaling", "own", AFTER, scale=0.1, offset=0.0)),
            {"resize": [8, 8], "channels": "rgb", "scale": 1.0},
            "a layer that scales, 'own'",
        ),
        (
            net("n", layer("Flatten", "f", AFTER, data_format="channels_first"), shape=(None, 1, 6, 7)),
            {"resize": [6, 7], "channels": "gray", "scale": 1 / 255},
            "[?, 1, 6, 7], channels first",
        ),
        (
            net("n", layer("Flatten", "f", AFTER), shape=(None, None, None, 3)),
            {"channels": "rgb", "scale": 1 / 255},
            "[?, ?, ?, 3]",
        ),
        (net("n", layer("Flatten", "f", AFTER), shape=(None, 4, 4, 7)), {}, "my_arrays.npz"),
        (net("n", layer("Dense", "d", AFTER, units=1), shape=(None, 10)), {}, "one array an input"),
    ],
)  # fmt: skip
def test_the_preprocessing_is_a_guess_that_says_why(model: Any, wanted: Any, reason: str, here: Path):
    hdf5(here / "m.h5", model, {"f": {"f/x:0": (1,)}})
    assert (first(here, "m.h5")["preprocess"] or {}) == wanted
    assert reason in (here / "pipeline.yaml").read_text()


def test_a_recurrent_model_gets_no_bundle(here: Path):
    hdf5(here / "m.h5", net("n", layer("LSTM", "l", AFTER, units=2), shape=(None, 5, 2)), {"l": {"l/k:0": (1,)}})
    assert first(here, "m.h5")["target"]["bundles"] is False


def test_two_files_make_one_model(here: Path, capsys: pytest.CaptureFixture[str]):
    (here / "net.json").write_text(json.dumps(KERAS2))
    assert cli.main(["init", "net.json"]) == 3
    assert "K2D-0007" in capsys.readouterr().err
    hdf5(here / "net_weights.h5", None, WEIGHTS)
    assert first(here, "net.json")["model"] == {"architecture": "net.json", "weights": "net_weights.h5"}
    assert first(here, "--force", "net_weights.h5")["model"]["architecture"] == "net.json"


def test_names_of_a_stranger_stay_words(here: Path):
    evil = net("n", layer("Flatten", "x\nseed: 7\n# \x1b[31m", AFTER))
    evil["config"]["layers"][0]["config"]["name"] = evil["config"]["layers"][0]["name"] = "a\nworkspace: /etc"
    evil["config"]["input_layers"] = [["a\nworkspace: /etc", 0, 0]]
    name = "m'\n: [#.h5"
    hdf5(here / name, evil, {"f": {"f/x:0": (1,)}})
    data = first(here, name)
    assert (data["seed"], data["workspace"], data["model"]["path"]) == (0, "workspace", name)
    assert "\x1b" not in (here / "pipeline.yaml").read_text()


def test_a_file_that_is_no_model(here: Path, capsys: pytest.CaptureFixture[str]):
    (here / "m.h5").write_bytes(b"no model")
    assert cli.main(["init", "m.h5"]) == 3
    assert cli.main(["init", "none.h5"]) == 2
    assert not (here / "pipeline.yaml").exists()
    assert "there is no file none.h5" in capsys.readouterr().err


def test_init_imports_neither_tensorflow_nor_keras(here: Path):
    hdf5(here / "m.h5", KERAS2, WEIGHTS)
    assert imported(here, "init", "m.h5") == {"h5py", "numpy", "pydantic"}


# --- at once


def imported(folder: Path, *words: str) -> set[str]:
    """Which of the libraries that take long the command imports."""
    code = (
        "import json, sys\nfrom dnndk_prep.cli import main\n"
        "try:\n    code = main(sys.argv[1:])\nexcept SystemExit as end:\n    code = end.code\n"
        "assert not code, code\nprint('\\n' + json.dumps([name for name in sys.modules if '.' not in name]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    slow = {"tensorflow", "keras", "tf_keras", "numpy", "h5py", "PIL", "matplotlib", "jinja2", "tqdm", "pydantic"}
    return slow & set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    ("words", "libraries"),
    [
        (["--help"], set()),
        (["run", "--help"], set()),
        (["check"], {"pydantic"}),
        (["plan"], {"pydantic"}),
        (["schema"], {"pydantic"}),
        (["init", "--force"], {"pydantic"}),
        (["targets"], set()),
        (["explain", "K2D-0007"], set()),
    ],
)
def test_answers_come_at_once(words: list[str], libraries: set[str], tmp_path: Path):
    (tmp_path / "pipeline.yaml").write_text("model: {path: m.h5}\ndataset: {name: none}\ncalibration: {path: m.h5}\n")
    (tmp_path / "m.h5").write_bytes(b"")
    assert imported(tmp_path, *words) == libraries


def test_the_package_alone_is_light(tmp_path: Path):
    code = "import sys, dnndk_prep; print({'numpy', 'pydantic', 'h5py', 'yaml', 'tensorflow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


# --- errors


def test_every_code_in_the_package_is_explained():
    used = set()
    for path in (ROOT / "dnndk_prep").rglob("*.py"):
        used |= set(re.findall(r'"(K2D-\d{4})"', path.read_text()))
    assert used <= set(codes())
    assert [f"K2D-{number:04}" for number in range(1, 26)] == list(codes())[:25]
    assert list(codes()) == sorted(codes())
    for one in codes().values():
        assert one.cause
        assert one.remedy
        assert one.example


def test_every_class_of_errors_has_a_general_code_that_ends_in_its_exit_code():
    for kind in (DnndkPrepError, *DnndkPrepError.__subclasses__()):
        assert kind.general_code == f"K2D-090{kind.exit_code}"
        assert kind("x").code == kind.general_code
        assert f"exit code {kind.exit_code}" in codes()[kind.general_code].title or kind is DnndkPrepError


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ([], "K2D-0902"),
        (["pln"], "K2D-0028"),
        (["plan", "--frm", "x"], "K2D-0902"),
        (["plan", "--only", "freze_graph"], "K2D-0028"),
        (["plan", "none.yaml"], "K2D-0902"),
        (["plan", "--set", "target"], "K2D-0027"),
        (["check", "--set", "target.bord=kv260"], "K2D-0026"),
        (["inspect", "none.h5"], "K2D-0903"),
        (["targets", "zcu1O4"], "K2D-0902"),
        (["explain", "K2D-0999"], "K2D-0028"),
    ],
)
def test_every_error_names_the_command_that_tells_more(
    words: list[str], code: str, here: Path, capsys: pytest.CaptureFixture[str]
):
    (here / "pipeline.yaml").write_text("")
    assert cli.main(words) in (2, 3)
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.endswith(f"  more:     dnndk-prep explain {code}\n")


def explained(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert cli.main(["explain", *words]) == code
    said = capsys.readouterr()
    return said.err if code else said.out


def test_explain(capsys: pytest.CaptureFixture[str]):
    text = explained(capsys, "K2D-0012")
    assert text.startswith("K2D-0012: the slope of a LeakyReLU")
    assert "26/256" in text
    assert text == explained(capsys, "k2d-12") == explained(capsys, "12")
    assert len(explained(capsys).splitlines()) == len(codes())
    assert json.loads(explained(capsys, "7", "--json"))["code"] == "K2D-0007"
    assert "did you mean K2D-0012" in explained(capsys, "the slope of a leakyrelu", code=2)
    assert "did you mean K2D-0907" in explained(capsys, "K2D-0909", code=2)
