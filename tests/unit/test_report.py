"""The report: what it says of each stage, and that no user's string breaks its tables."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from dnndk_prep import report, templates
from dnndk_prep.config import Config
from dnndk_prep.dpu import targets
from dnndk_prep.stages.context import StageContext

HASH = "0123456789abcdef" * 4


def stage(name: str, facts: dict | None = None, warnings: tuple[str, ...] = (), artifacts: tuple[str, ...] = ("a.pb",)):
    return {
        "stage": name,
        "fingerprint": {"config": {"seed": 3}, "files": {"model.path": HASH}},
        "version": 1,
        "seconds": 1.25,
        "artifacts": {path: {"bytes": 2048, "sha256": HASH} for path in artifacts},
        "facts": facts or {},
        "warnings": list(warnings),
        "versions": {"tensorflow": "2.21.0", "keras": "3.15.1"},
    }


def proof(top1: float | None, reason: str | None = None, test: dict | None = None) -> dict:
    return {
        "probe": {"max_abs_diff": 3e-8, "tolerance": 1e-4, "source": "16 test images"},
        "accuracy": {"top1": top1, "images": 2000, "reason": reason},
        "test": test,
    }


def rendered(*stages: dict) -> str:
    board = targets.board("zcu104")
    return report.render(report.ReportFacts(stages, board, board.chosen()))


def rows(text: str, heading: str) -> list[list[str]]:
    """The cells of the first table under `heading`, split as a Markdown reader splits them: not at an escaped pipe."""
    section = text.split(f"## {heading}\n", 1)[1]
    found = []
    for line in section.splitlines():
        if line.startswith("## ") or (found and not line):
            break
        if line.startswith("|"):
            found.append([cell.strip() for cell in line.replace(r"\|", "\0").strip("|").split("|")])
    return [[cell.replace("\0", r"\|") for cell in row] for row in found[2:]]


def test_stages_with_status_time_and_size():
    text = rendered(stage("train_save"), stage("calib_input", warnings=("fewer than 100 images",)))
    assert rows(text, "Stages") == [
        ["train_save", "done", "1.2", "1", "2.0 KiB"],
        ["calib_input", "done, 1 warning", "1.2", "1", "2.0 KiB"],
    ]
    assert "- calib_input: fewer than 100 images" in text


def test_accuracy_is_a_number_or_a_reason():
    text = rendered(
        stage("keras_2_tf", {"proof": proof(0.8715)}),
        stage("freeze_graph", {"proof": proof(None, "the model has 2 inputs | the dataset 1")}),
    )
    assert rows(text, "Accuracy") == [
        ["keras_2_tf", "87.15 %", "2000"],
        ["freeze_graph", r"not measured: the model has 2 inputs \| the dataset 1", "-"],
    ]


def test_zero_accuracy_is_a_measurement():
    assert rows(rendered(stage("keras_2_tf", {"proof": proof(0.0)})), "Accuracy")[0][1] == "0.00 %"


def test_a_saved_model_with_its_names_and_its_proof():
    saved = {
        "folder": "saved_model/net|/1",
        "signature": "classify",
        "tags": ["serve", "small"],
        "inputs": {"x": "image:0"},
        "outputs": {"scores": "prob/Softmax:0"},
        "learning_phase": "keras_learning_phase:0",
        "assets": [],
        "proof": {"max_abs_diff": 2e-7, "tolerance": 1e-4},
    }
    text = rendered(stage("export", {"saved_model": saved}))
    assert rows(text, "Numeric differences") == [
        ["export", r"probe, through saved_model/net\|/1", "2e-07", "0.0001"],
    ]
    assert rows(text, "SavedModel") == [
        ["input", "`x`", "`image:0`"],
        ["input", "`keras_learning_phase`", "`keras_learning_phase:0`"],
        ["output", "`scores`", "`prob/Softmax:0`"],
    ]
    assert "the signature `classify` and the tags `serve,small`" in text
    # Without the model's outputs to compare with there is no row, and without a SavedModel no section.
    assert "probe, through" not in rendered(stage("export", {"saved_model": saved | {"proof": None}}))
    assert "SavedModel\n" not in rendered(stage("export"))


def test_differences_of_probe_test_part_and_bundles():
    bundle = {
        "folder": "dnndk",
        "toolchain": "dnndk-3.1",
        "reader": "1.12",
        "net_name": "net",
        "calib_iter": 10,
        "batch_size": 9,
        "max_abs_diff": 0.0,
        "tolerance": 1e-4,
    }
    text = rendered(
        stage("freeze_graph", {"proof": proof(0.9, test={"max_abs_diff": 5e-7})}),
        stage("export", {"bundles": [bundle]}),
    )
    assert rows(text, "Numeric differences") == [
        ["freeze_graph", "probe: 16 test images", "3e-08", "0.0001"],
        ["freeze_graph", "test images", "5e-07", "-"],
        ["export", "first calibration batch, for dnndk-3.1", "0", "0.0001"],
    ]
    assert rows(text, "Bundles") == [["`export/dnndk`", "dnndk-3.1", "1.12", "`net`", "10 x 9"]]


def test_nodes_and_rewrites():
    facts = {
        "nodes": {"before": 67, "after": 39},
        "rewrites": [{"name": "fold_batch_norm", "before": 60, "after": 39, "max_abs_diff": None}],
    }
    text = rendered(stage("optimize_for_inference", facts))
    assert rows(text, "Graph nodes") == [["optimize_for_inference", "67", "39"]]
    assert "| `fold_batch_norm` | 60 | 39 | - |" in text


def test_a_folder_of_many_files_is_one_line():
    images = tuple(f"images/{i}.png" for i in range(100))
    text = rendered(stage("calib_input", artifacts=("calib.npz", *images)))
    assert rows(text, "Artifacts") == [
        ["calib_input", "`calib.npz`", "2.0 KiB", HASH[:12]],
        ["calib_input", "`images/ (100 files)`", "200.0 KiB", "-"],
    ]


def test_without_bundles_the_board_is_still_named():
    text = rendered(stage("train_save"))
    assert "ZCU104 (ZU7EV), 2 x B4096 at 300 MHz, DPUCZDX8G" in text
    assert "None was written. ZCU104 has: DNNDK 3.1, Vitis AI 3.5." in text
    assert "## Accuracy" not in text


@pytest.mark.parametrize("name", ["a|b.pb", "a`b``c.pb", "`a`", "a\nb.pb", "<script>.pb", r"a\|b.pb"])
def test_file_names_cannot_break_the_table(name):
    table = rows(rendered(stage("freeze_graph", artifacts=(name,))), "Artifacts")
    assert len(table) == 1
    assert len(table[0]) == 4


def test_warnings_are_plain_text():
    text = rendered(stage("train_save", warnings=("*x* `y` [z](u)\n# h _e_ my_name <b>",)))
    assert r"- train_save: \*x\* \`y\` \[z\](u) \# h \_e\_ my_name \<b\>" in text


@pytest.mark.parametrize(("text", "span"), [("a", "`a`"), ("a`b", "``a`b``"), ("`a", "`` `a ``"), ("", "(empty)")])
def test_code_spans(text, span):
    assert templates.code(text) == span


def test_the_stage_writes_its_files_without_machine_facts(tmp_path):
    inputs = {}
    for name in ("train_save", "keras_2_tf"):
        inputs[name] = tmp_path / name
        inputs[name].mkdir()
        (inputs[name] / "stage.json").write_text(json.dumps(stage(name, {"proof": proof(0.9)})))
    out = tmp_path / "out"
    out.mkdir()
    from dnndk_prep.stages.report import run

    cfg = Config.model_validate({"model": {"path": "/home/user/model.h5"}})
    assert run(StageContext(cfg, inputs, out, tmp_path, print)) == {}
    data = json.loads((out / "report.json").read_text())
    assert [item["stage"] for item in data["stages"]] == ["train_save", "keras_2_tf"]
    assert data["toolchains"][0] == "dnndk-3.1"
    assert rows((out / "report.md").read_text(), "Accuracy")[1] == ["keras_2_tf", "90.00 %", "2000"]
    assert data["settings"] == {"seed": 3, "model": {"path": "model.h5"}}
    assert data["files"] == [{"key": "model.path", "name": "model.h5", "sha256": HASH}]
    names = ["report.html", "report.json", "report.md"]
    assert sorted(path.name for path in out.iterdir()) == names
    assert not any("/home/user" in (out / name).read_text() for name in names)


def test_no_tensorflow_is_imported():
    code = "import sys; import dnndk_prep.stages.report; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_quantization_costs():
    measured = {"top1": 0.9, "top5": None, "mean_iou": None, "images": 2000, "reason": None}
    worst = {"node": "a|b", "op": "Relu", "position": 4, "sqnr_db": 21.5, "cumulative_sqnr_db": None}
    facts = {
        "fix_neurons": 19,
        "moved": 2,
        "flags": {"method": 0},
        "accuracy": {"float": measured, "vendor": measured | {"top1": 0.5}},
        "worst": [worst | {"saturation": 0.0125}],
    }
    text = rendered(stage("optimize_for_inference", {"proof": proof(0.9)}), stage("quantize", facts))
    assert rows(text, "Accuracy") == [
        ["optimize_for_inference", "90.00 %", "2000"],
        ["quantize, vendor int8", "50.00 %", "2000"],
    ]
    assert rows(text, "Quantized")[:2] == [
        ["float", "90.00 %", "-", "-", "2000"],
        ["vendor int8", "50.00 %", "-", "-", "2000"],
    ]
    assert "19 FixNeurons, 2 of them moved by alignment and the DPU's shifts; --method 0." in text
    assert "| Relu | 4 | 21.5 | None | 1.25 % |" in text
    assert "## Quantized" not in rendered(stage("quantize", {"fix_neurons": 0}))
