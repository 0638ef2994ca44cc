"""The YAML: every mistake at once, with its place and the nearest key."""

from pathlib import Path

import pytest

from dnndk_prep.config_file import load_config
from dnndk_prep.errors import UsageError

SHIPPED = Path(__file__).parents[2] / "pipeline.yaml"


def load(tmp_path: Path, text: str, *overrides: str):
    path = tmp_path / "p.yaml"
    path.write_text(text)
    return load_config(path, overrides)


def mistakes(tmp_path: Path, text: str, *overrides: str) -> str:
    with pytest.raises(UsageError) as caught:
        load(tmp_path, text, *overrides)
    return str(caught.value)


def test_the_shipped_file_is_right_and_shows_every_key():
    cfg = load_config(SHIPPED)
    assert cfg.target.board == "zcu104"
    assert cfg.workspace == SHIPPED.parent / "workspace"
    text = SHIPPED.read_text()
    for name in type(cfg).model_fields:
        assert f"\n{name}:" in text
        for key in getattr(type(getattr(cfg, name)), "model_fields", {}):
            assert f"  {key}: " in text, key


def test_each_commented_line_of_the_shipped_file_is_accepted(tmp_path: Path):
    section = ""
    for line in SHIPPED.read_text().splitlines():
        if line[:1].isalpha():
            section = line.split(":")[0]
        if line.startswith("#  "):
            text = f"{section}:\n  {line[3:]}\n"
            if section == "model" and not line.startswith("#  path"):
                text = "model:\n  architecture: a.json\n  weights: w.h5\n"
            if "masks" in line:
                text = "dataset: {name: folder, path: x, masks: y}\n"
            if section == "dataset" and "path" in line[:8]:
                text += "  name: folder\n"
            load(tmp_path, text)


def test_empty_file_gives_the_defaults(tmp_path: Path):
    cfg = load(tmp_path, "")
    assert cfg.graph.reader == "1.9"
    assert cfg.calibration.count == 100
    assert cfg.workspace == tmp_path / "workspace"


def test_all_mistakes_at_once_with_place_and_nearest_key(tmp_path: Path):
    text = "target:\n  bord: zcu104\ntrain_save:\n  epochs: many\ngraph:\n  reader: 1.9\nsead: 3\n"
    report = mistakes(tmp_path, text)
    assert "4 mistakes" in report
    assert f"{tmp_path}/p.yaml:2:3: unknown key 'target.bord'; did you mean 'target.board'?" in report
    assert "p.yaml:4:3: train_save.epochs: input should be a valid integer" in report
    assert "p.yaml:6:3: graph.reader" in report
    assert "write it in quotes" in report
    assert "p.yaml:7:1: unknown key 'sead'; did you mean 'seed'?" in report


def test_a_key_in_the_wrong_section_is_pointed_to_its_own(tmp_path: Path):
    assert "did you mean 'train_save.epochs'?" in mistakes(tmp_path, "epochs: 3\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed: 1\nseed: 2\n", "'seed' stands here twice"),
        ("seed: [1\n", "not YAML"),
        ("- a\n", "must hold keys"),
        ("seed: !!python/object/apply:os.system ['true']\n", "seed"),
        ("seed: !!python/name:os.system\n", "not a plain value"),
        ("? {a: 1}\n: 2\n", "a key must be a word"),
        ("model:\n  path: a.h5\n  weights: b.h5\n", "not both"),
        ("model:\n  weights: b.h5\n", "model.architecture is missing"),
        ("dataset: {name: folder}\n", "needs dataset.path"),
        ("preprocess: {mode: tf, scale: 1.0}\n", "preprocess.mode sets scale itself"),
        ("preprocess: {std: [0, 1, 1]}\n", "1:14: preprocess.std cannot be used"),
        ("preprocess: {scale: .nan}\n", "preprocess.scale"),
        ("preprocess: {scale: 0}\n", "1:14: preprocess.scale cannot be used"),
        ("preprocess: {resize: [8, 8], crop: [8, 9]}\n", "crop cannot be used: expected at most preprocess.resize"),
        ("preprocess: {mean: [1, 2]}\n", "preprocess.mean cannot be used: expected 1 or 3"),
        ("preprocess: {mean: [1, x, 3]}\n", "1:24: preprocess.mean.1: input should be a valid number"),
        ("preprocess: {scale: 1e-5}\n", "write 1.0e-05"),
        ("train_save: {epochs: '3'}\n", "leave out the quotes"),
        ("target: !!python/object:os.system {a: 1}\n", "not a plain value: the tag"),
        ("target: {board: zcu1O4}\n", "zcu104"),
        ("target: {board: 0x10100005601040f}\n", "names an architecture that no source knows"),
        ("target: {board: zcu104, toolchain: vitis-ai-9}\n", "vitis-ai"),
        ("calibration: {count: 0}\n", "calibration.count"),
        ("[" * 5000, "YAML|deep"),
        ("a: &a [1,1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
         "c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\nseed: *d\n", "aliases"),
        ("a: &a [*a]\n", "aliases|YAML"),
        (f"seed: 0x{'f' * 4000}\n", "1:7: not a value: a number of 64 bits or more"),
        (f"seed: {'1:' * 3000}1\n", "1:7: not a value: a number of 64 bits or more"),
        ('workspace: "a\\0b"\n', "1:12: not a value: a text with a NUL"),
    ],
)  # fmt: skip
def test_mistakes(tmp_path: Path, text: str, said: str):
    report = mistakes(tmp_path, text)
    assert any(part in report for part in said.split("|")), report
    assert "p.yaml:" in report


def test_a_fingerprint_needs_no_quotes(tmp_path: Path):
    """YAML reads it as a number."""
    for text in ("0x101000056010406", "'0x101000056010406'"):
        assert load(tmp_path, f"target: {{board: {text}}}").target.board == "0x101000056010406"


def test_set_goes_through_the_same_validation(tmp_path: Path):
    cfg = load(
        tmp_path, "target:\n  board: zcu104\n", "target.board=zcu102", "calibration.count=7", "graph.reader='1.15'"
    )
    assert (cfg.target.board, cfg.calibration.count, cfg.graph.reader) == ("zcu102", 7, "1.15")
    report = mistakes(tmp_path, "", "target.bord=zcu102", "seed=no")
    assert "--set target.bord=zcu102: unknown key 'target.bord'; did you mean 'target.board'?" in report
    assert "--set seed=no: seed: " in report
    assert "sets nothing" in mistakes(tmp_path, "", "target.board")
    assert "names no file" in mistakes(tmp_path, "", "model.path=")
    assert "is a value and has no keys" in mistakes(tmp_path, "seed: 3", "seed.x=1")


@pytest.mark.parametrize("text", ["1.15", "1.10", "2.10", "'1.15'", " 1.15 "])
def test_set_takes_a_text_as_it_is_typed(tmp_path: Path, text: str):
    """Not as the number that YAML makes of it: 1.10 is no 1.1."""
    assert load(tmp_path, "", f"graph.reader={text}").graph.reader == text.strip(" '")


def test_set_takes_texts_wherever_the_schema_wants_one(tmp_path: Path):
    cfg = load(
        tmp_path, "", "saved_model.inputs.image=7", "saved_model.signature=yes", "saved_model.version=3", "seed=7"
    )
    assert (cfg.saved_model.inputs, cfg.saved_model.signature) == ({"image": "7"}, "yes")
    assert (cfg.saved_model.version, cfg.seed) == (3, 7)
    assert load(tmp_path, "target: {toolchain: null}", "target.toolchain=null").target.toolchain is None
    assert load(tmp_path, "", "model.path=g.pb", "model.constants.x=1.5").model.constants == {"x": 1.5}
    assert "p.yaml:1:9: graph.reader: " in (said := mistakes(tmp_path, "graph: {reader: 1.10}"))
    assert "YAML reads that as a number, and 1.10 as 1.1: write it in quotes" in said


def test_paths_are_relative_to_the_yaml_and_to_the_caller_for_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert load(tmp_path, "model: {path: m.h5}\n").model.path == tmp_path / "m.h5"
    assert load(tmp_path, "", "model.path=m.h5").model.path == tmp_path / "elsewhere" / "m.h5"


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path):
    with pytest.raises(UsageError, match="cannot be read"):
        load_config(tmp_path / "none.yaml")
    (tmp_path / "bin.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="UTF-8"):
        load_config(tmp_path / "bin.yaml")
