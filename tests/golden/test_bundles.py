"""The bundles' texts as they are written, word for word, and what else must lie beside them."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace

import bundles
import numpy as np
import pytest

from dnndk_prep.dpu import targets
from dnndk_prep.dpu.own_board import for_dcf
from dnndk_prep.errors import StageError
from dnndk_prep.export.bundle import calibration_batch, net_name, quantizer_shape
from dnndk_prep.graph.artifact import GraphArtifact, TensorSpec

TEXTS = {
    "dnndk": ("decent_q.sh", "dnnc.sh", "README.md"),
    "vitis_ai": ("quantize.sh", "compile.sh", "arch.json", "README.md"),
}
EVERY = [(board.name, chain) for board in targets.boards() for chain in board.toolchains]
IDS = [f"{board}-{chain.name}" for board, chain in EVERY]


@pytest.fixture
def calib(tmp_path):
    return bundles.calibration(tmp_path / "calib_input")


@pytest.mark.parametrize(
    ("board", "toolchain"),
    [
        ("zcu104", "dnndk-3.1"),
        ("zedboard", "dnndk-3.0"),
        ("zcu104", "vitis-ai-3.5"),
        ("zcu102", "vitis-ai-1.2"),
        ("zcu102", "vitis-ai-1.0"),
        ("ultra96", "vitis-ai-1.1"),
        ("ultra96", "vitis-ai-2.0"),
    ],
)
def test_texts(board, toolchain, calib, tmp_path, golden):
    one = bundles.spec(calib, board, toolchain)
    folder = bundles.write(tmp_path / "bundle", one)
    for name in TEXTS[one.toolchain.family]:
        golden(f"{board}-{toolchain}/{name}", (folder / name).read_text())


@pytest.mark.parametrize("toolchain", ["dnndk-3.1", "vitis-ai-1.2"])
def test_the_dcf_of_ones_own_design_lies_in_the_folder(toolchain, calib, tmp_path):
    dcf = tmp_path / "it's $(mine).dcf"
    dcf.write_bytes(b"\x08\x01Number of DPU Cores:1")
    one = bundles.spec(calib, "zcu102", toolchain)
    own = for_dcf(one.board, dcf).toolchain(toolchain)
    folder = bundles.write(tmp_path / "bundle", replace(one, toolchain=own, dcf=dcf))
    assert (folder / "dpu.dcf").read_bytes() == dcf.read_bytes()
    assert "Copy `" not in (folder / "README.md").read_text()
    texts = [path.read_text() for path in folder.iterdir() if path.suffix in (".sh", ".json")]
    assert any("dpu.dcf" in text for text in texts)
    assert not any("mine" in text for text in texts)


@pytest.mark.parametrize("toolchain", ["dnndk-3.1", "vitis-ai-3.5"])
def test_what_checks_the_folder(toolchain, calib, tmp_path, golden):
    folder = bundles.write(tmp_path / "bundle", bundles.spec(calib, "zcu104", toolchain))
    golden(f"zcu104-{toolchain}/check.py.txt", (folder / "check.py").read_text())
    with np.load(folder / "check_outputs.npz") as arrays:
        assert arrays["output_0"].shape == (10, 10)


def test_of_large_outputs_some_examples_are_stored(calib, tmp_path):
    mask = TensorSpec("mask", (None, 600, 600, 2), "float32")
    folder = bundles.write(
        tmp_path / "bundle", bundles.spec(calib, "zcu104", "dnndk-3.1", outputs=(mask, bundles.PROB))
    )
    with np.load(folder / "check_outputs.npz") as arrays:
        assert arrays["output_0"].shape == (2, 600, 600, 2)
        assert arrays["output_1"].shape == (10, 10)


def test_bundle_holds_graph_and_calibration_data_unchanged(calib, tmp_path):
    one = bundles.spec(calib, "zcu104", "dnndk-3.1")
    folder = bundles.write(tmp_path / "bundle", one)
    assert GraphArtifact.load(folder).inputs == one.graph.inputs
    for path in calib.rglob("*"):
        if path.is_file():
            assert (folder / path.relative_to(calib)).read_bytes() == path.read_bytes()
    assert calibration_batch(folder, 3)["image"].tolist() == [[3]]
    assert not list(folder.rglob("__pycache__"))


def test_arrays_without_images_are_enough(calib, tmp_path):
    shutil.rmtree(calib / "images")
    (calib / "calib_list.txt").unlink()
    folder = bundles.write(tmp_path / "bundle", bundles.spec(calib, "zcu104", "vitis-ai-3.5"))
    assert not (folder / "images").exists()
    assert "images" not in (folder / "quantize.sh").read_text()


def test_calibration_without_input_fn_is_refused(calib, tmp_path):
    (calib / "input_fn.py").unlink()
    with pytest.raises(StageError, match=r"input_fn\.py"):
        bundles.write(tmp_path / "bundle", bundles.spec(calib, "zcu104", "vitis-ai-3.5"))


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
@pytest.mark.parametrize(("board", "chain"), EVERY, ids=IDS)
def test_shellcheck_finds_nothing(board, chain, calib, tmp_path):
    folder = bundles.write(tmp_path / "bundle", bundles.spec(calib, board, chain.name))
    done = subprocess.run(["shellcheck", *folder.glob("*.sh")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("shape", "feed", "words"),
    [
        ((None, 224, 224, 3), None, "?,224,224,3"),
        ((4, 32, 32, 3), None, "?,32,32,3"),
        ((None, 80, 4), None, "?,1,80,4"),
        ((None, 16), None, "?,1,1,16"),
        ((None,), None, "?,1,1,1"),
        ((None, None, None, 3), (10, 64, 48, 3), "?,64,48,3"),
    ],
)
def test_shapes_have_four_dimensions(shape, feed, words):
    assert quantizer_shape(TensorSpec("x", shape, "float32"), feed) == words


@pytest.mark.parametrize("shape", [(None, None, 32, 3), (None, 2, 8, 8, 3)])
def test_shapes_that_the_quantizer_cannot_be_told(shape):
    with pytest.raises(StageError, match="'x'"):
        quantizer_shape(TensorSpec("x", shape, "float32"))


@pytest.mark.parametrize(
    ("stem", "name"),
    [("my-model (1)", "my_model_1"), ("3dnet", "net_3dnet"), ("äö", "model"), ("a$(b)", "a_b"), ("ok_9", "ok_9")],
)
def test_net_names_are_identifiers(stem, name):
    assert net_name(stem) == name
