"""The table of boards: lookups, families, and facts that must agree with one another."""

from __future__ import annotations

import subprocess
import sys

import pytest

from dnndk_prep.dpu import targets
from dnndk_prep.errors import UsageError

EVERY = [(board, chain) for board in targets.boards() for chain in board.toolchains]
IDS = [f"{board.name}-{chain.name}" for board, chain in EVERY]

# Architecture index in bits [3:0] of a DPUCZDX8G fingerprint (Vitis AI target_factory sources).
ARCH_INDEX = {"B512": 0, "B800": 1, "B1024": 2, "B1152": 3, "B1600": 4, "B2304": 5, "B3136": 6, "B4096": 7}


def test_boards_are_found_in_any_case():
    assert [item.name for item in targets.boards()] == ["zcu102", "zcu104", "kv260", "ultra96", "zedboard"]
    assert targets.board("ZCU102") is targets.board("zcu102")
    assert targets.board("ZedBoard").title == "ZedBoard"


def test_unknown_board_names_the_nearest():
    with pytest.raises(UsageError) as caught:
        targets.board("zcu120")
    assert "zcu102" in caught.value.remedy
    assert caught.value.found == "zcu120"


def test_unknown_toolchain_names_the_nearest():
    with pytest.raises(UsageError) as caught:
        targets.board("zcu102").toolchain("vitis-ai-3.6")
    assert "vitis-ai-3.5" in caught.value.remedy
    assert "vitis-ai-2.5" in caught.value.expected


@pytest.mark.parametrize(
    ("board", "families", "newest"),
    [
        ("zcu102", ("dnndk", "vitis_ai"), ["dnndk-3.1", "vitis-ai-3.5"]),
        ("zcu104", ("dnndk", "vitis_ai"), ["dnndk-3.1", "vitis-ai-3.5"]),
        ("kv260", ("vitis_ai",), ["vitis-ai-3.5"]),
        ("ultra96", ("dnndk", "vitis_ai"), ["dnndk-3.1", "vitis-ai-2.0"]),
        ("zedboard", ("dnndk",), ["dnndk-3.1"]),
    ],
)
def test_families_and_their_newest_release(board, families, newest):
    found = targets.board(board)
    assert found.families == families
    assert [chain.name for chain in found.chosen()] == newest


def test_a_chosen_release_stands_for_its_family_alone():
    names = [chain.name for chain in targets.board("zcu104").chosen("VITIS-AI-1.2")]
    assert names == ["dnndk-3.1", "vitis-ai-1.2"]


def test_a_family_that_the_board_has_not_is_refused():
    with pytest.raises(UsageError, match="ZedBoard has no toolchain"):
        targets.board("zedboard").newest("vitis_ai")


def test_kv260_begins_with_vitis_ai_1_4():
    assert targets.board("kv260").toolchains[0].name == "vitis-ai-1.4"
    with pytest.raises(UsageError):
        targets.board("kv260").toolchain("dnndk-3.1")


@pytest.mark.parametrize(("board", "chain"), EVERY, ids=IDS)
def test_each_era_has_its_own_way_to_name_the_dpu(board, chain):
    if chain.family == "dnndk":
        assert chain.arch is None
        assert (chain.dpu_option is not None) == (chain.name == "dnndk-3.0")
        assert (chain.dcf is not None) == (chain.name == "dnndk-3.1")
    elif chain.name in ("vitis-ai-1.0", "vitis-ai-1.1", "vitis-ai-1.2"):
        assert set(chain.arch) == {"target", "dcf", "cpu_arch"}
        assert chain.arch["cpu_arch"] == board.cpu_arch
        assert chain.arch["target"] == ("DPUCZDX8G" if chain.name == "vitis-ai-1.2" else "DPUv2")
    else:
        assert set(chain.arch) in ({"target"}, {"fingerprint"})


@pytest.mark.parametrize(("board", "chain"), EVERY, ids=IDS)
def test_the_compiler_gets_the_file_of_its_era(board, chain):
    xir = chain.family == "vitis_ai" and chain.name not in ("vitis-ai-1.0", "vitis-ai-1.1", "vitis-ai-1.2")
    assert chain.compile_from == ("quantize_eval_model.pb" if xir else "deploy_model.pb")
    assert chain.compiles_to == ("xmodel" if xir else "elf")
    assert (chain.fingerprint is not None) == xir


@pytest.mark.parametrize(("board", "chain"), EVERY, ids=IDS)
def test_readers(board, chain):
    expected = {"dnndk-3.0": "1.9", "dnndk-3.1": "1.12", "vitis-ai-1.0": "1.12"}
    assert chain.reader == expected.get(chain.name, "1.15")


@pytest.mark.parametrize(
    ("board", "chain"),
    [(b, c) for b, c in EVERY if c.fingerprint],
    ids=[i for i, (_, c) in zip(IDS, EVERY, strict=True) if c.fingerprint],
)
def test_fingerprints_say_what_the_row_says(board, chain):
    bits = int(chain.fingerprint, 16)
    isa = bits >> 48 & 0xFF
    assert bits >> 56 == 1  # DPUCZDX8G
    assert bits & 0xF == ARCH_INDEX[board.arch]
    assert isa == (1 if chain.name in ("vitis-ai-2.5", "vitis-ai-3.0", "vitis-ai-3.5") else 0)
    if "target" in chain.arch:
        assert chain.arch["target"].startswith(f"DPUCZDX8G_ISA{isa}_{board.arch}")
    else:
        assert chain.arch["fingerprint"] == chain.fingerprint
    if isa == 1:  # bit 30: the save engine's argmax, which came with 3.0 under the same target name
        assert bool(bits >> 30 & 1) == (chain.name != "vitis-ai-2.5")


@pytest.mark.parametrize(("board", "chain"), EVERY, ids=IDS)
def test_every_row_has_its_sources(board, chain):
    for text in (board.source, chain.source, chain.board_source):
        assert text.strip()


def test_release_is_the_vendors_name():
    assert targets.board("zcu104").toolchain("vitis-ai-3.5").release == "Vitis AI 3.5"
    assert targets.board("zcu104").toolchain("dnndk-3.0").release == "DNNDK 3.0"


def test_no_tensorflow_is_imported():
    code = "import sys; from dnndk_prep.dpu import targets; targets.boards(); sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
