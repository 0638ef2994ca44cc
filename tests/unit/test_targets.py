"""The table of boards: lookups, families, and facts that must agree with one another."""

from __future__ import annotations

import pytest

from dnndk_prep.dpu import targets
from dnndk_prep.dpu.arch_json import arch_json
from dnndk_prep.dpu.dpus import by_name
from dnndk_prep.dpu.fingerprint import decode
from dnndk_prep.dpu.own_board import board_of
from dnndk_prep.dpu.resolve import dpu_of
from dnndk_prep.errors import ModelFileError, UsageError

EVERY = [(board, chain) for board in targets.boards() for chain in board.toolchains]
IDS = [f"{board.name}-{chain.name}" for board, chain in EVERY]
DCF_RELEASES = ("vitis-ai-1.0", "vitis-ai-1.1", "vitis-ai-1.2")


def test_boards_are_found_in_any_case():
    names = [item.name for item in targets.boards()]
    assert names == ["zcu102", "zcu104", "kv260", "ultra96", "zedboard", "pynq-z2", "vck190", "vek280"]
    assert targets.board("ZCU102") is targets.board("zcu102")
    assert targets.board("PYNQ-Z2").title == "PYNQ-Z2"


def test_a_fingerprint_is_a_board_of_ones_own():
    board = board_of("101000016010406")
    assert (board.name, board.title, board.size) == ("0x101000016010406", "DPUCZDX8G_ISA1_B3136", "B3136")
    arches = {chain.name: arch_json(chain) for chain in board.toolchains}
    # 2.5 lists it by its name; in 3.0 the name is that of another.
    named, by_bits = {"target": "DPUCZDX8G_ISA1_B3136"}, {"fingerprint": "0x101000016010406"}
    assert arches == {"vitis-ai-2.5": named, "vitis-ai-3.0": by_bits, "vitis-ai-3.5": by_bits}
    assert dpu_of(board, board.toolchains[-1]).fingerprint == board.name
    # What 2.5 and later refuse, they have no bundle for.
    assert [chain.name for chain in board_of("0x1000020f2014404").toolchains][-1] == "vitis-ai-2.0"
    assert board_of("ZCU104") is targets.board("zcu104")
    with pytest.raises(UsageError, match="no DPU has type 16"):
        board_of("0x1010000160104070")


def test_a_dcf_is_the_boards_own(tmp_path):
    path = tmp_path / "it's mine.dcf"
    path.write_text(
        "Number of DPU Cores:2;Arch of DPU:B2304;RAM Usage:High;Channel Augmentation:Disabled;DepthWiseConv:Enabled;"
        "AveragePool:Disabled;ReLU Type:ReLU + ReLU6;Number of SFM cores:0;Target Version:1.4.1;"
        "M-AXI HP Data Width (DPU):128"
    )
    board = board_of("zcu104", path)
    assert board.size == "2 x B2304"
    assert [chain.name for chain in board.toolchains] == ["dnndk-3.1", *DCF_RELEASES]
    assert {chain.dcf for chain in board.toolchains} == {"dpu.dcf"}
    assert all(dpu_of(board, chain).avg_pool is None for chain in board.toolchains)
    with pytest.raises(UsageError, match="does not go with KV260"):
        board_of("kv260", path)
    with pytest.raises(UsageError, match="is no DCF"):
        board_of("zcu104", path.rename(tmp_path / "mine.hwh"))
    with pytest.raises(ModelFileError, match="cannot be read"):
        board_of("zcu104", tmp_path / "gone.dcf")


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
        ("pynq-z2", ("dnndk",), ["dnndk-3.1"]),
        ("vck190", ("vitis_ai",), ["vitis-ai-3.5"]),
        ("vek280", ("vitis_ai",), ["vitis-ai-3.5"]),
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


@pytest.mark.parametrize(("board", "first"), [("kv260", "1.4"), ("vck190", "1.3"), ("vek280", "3.0")])
def test_boards_begin_with_the_release_they_came_with(board, first):
    assert targets.board(board).toolchains[0].name == f"vitis-ai-{first}"
    with pytest.raises(UsageError):
        targets.board(board).toolchain("dnndk-3.1")


@pytest.mark.parametrize(("board", "chain"), EVERY, ids=IDS)
def test_each_era_has_its_own_way_to_name_the_dpu(board, chain):
    if chain.family == "dnndk":
        assert (chain.dpu_option is not None) == (chain.name == "dnndk-3.0")
        assert (chain.dcf is not None) == (chain.name == "dnndk-3.1")
        with pytest.raises(UsageError, match=r"has no arch\.json"):
            arch_json(chain, board.cpu_arch)
        return
    arch = arch_json(chain, board.cpu_arch)
    if chain.name in DCF_RELEASES:
        assert set(arch) == {"target", "dcf", "cpu_arch"}
        assert arch["cpu_arch"] == board.cpu_arch
        assert arch["target"] == ("DPUCZDX8G" if chain.name == "vitis-ai-1.2" else "DPUv2")
    elif board.name == "ultra96":
        assert arch == {"fingerprint": "0x1000020f2014404"}
    else:
        assert arch == {"target": by_name(arch["target"], chain.name).name}


@pytest.mark.parametrize(("board", "chain"), EVERY, ids=IDS)
def test_the_compiler_gets_the_file_of_its_era(board, chain):
    xir = chain.family == "vitis_ai" and chain.name not in DCF_RELEASES
    assert chain.compile_from == ("quantize_eval_model.pb" if xir else "deploy_model.pb")
    assert chain.compiles_to == ("xmodel" if xir else "elf")
    assert (chain.fingerprint is not None) == xir


@pytest.mark.parametrize(("board", "chain"), EVERY, ids=IDS)
def test_readers(board, chain):
    expected = {"dnndk-3.0": "1.9", "dnndk-3.1": "1.12", "vitis-ai-1.0": "1.12"}
    assert chain.reader == expected.get(chain.name, "1.15")


@pytest.mark.parametrize(("board", "chain"), EVERY, ids=IDS)
def test_the_dpu_of_a_row_is_the_boards(board, chain):
    dpu = dpu_of(board, chain)
    assert dpu.fingerprint == chain.fingerprint
    assert chain.note is None or chain.note in dpu.notes
    if board.dpu == "DPUCZDX8G" or board.configuration:
        assert dpu.arch == board.arch
    if chain.fingerprint:
        assert decode(chain.fingerprint).family == board.dpu


def test_one_name_has_two_fingerprints():
    zcu102 = targets.board("zcu102")
    old, new = zcu102.toolchain("vitis-ai-2.5"), zcu102.toolchain("vitis-ai-3.0")
    assert arch_json(old) == arch_json(new) == {"target": "DPUCZDX8G_ISA1_B4096"}
    assert (old.fingerprint, new.fingerprint) == ("0x101000016010407", "0x101000056010407")


def test_what_a_dcf_leaves_out_is_left_out():
    zedboard, ultra96, zcu104 = (targets.board(name) for name in ("zedboard", "ultra96", "zcu104"))
    dpu = dpu_of(zedboard, zedboard.toolchain("dnndk-3.1"))
    assert dpu.depthwise is None
    assert dpu.conv.nonlinear == ("relu", "relu_six")
    assert dpu.channel_augmentation == 24
    assert dpu_of(ultra96, ultra96.toolchain("dnndk-3.1")).channel_augmentation is None
    # RAM usage high in DNNDK, low from Vitis AI 1.3 on.
    images = [len(dpu_of(zcu104, zcu104.toolchain(name)).image_banks) for name in ("dnndk-3.1", "vitis-ai-1.3")]
    assert images == [3, 2]


@pytest.mark.parametrize(("board", "chain"), EVERY, ids=IDS)
def test_every_row_has_its_sources(board, chain):
    for text in (board.source, chain.source, chain.board_source):
        assert text.strip()


def test_release_is_the_vendors_name():
    assert targets.board("zcu104").toolchain("vitis-ai-3.5").release == "Vitis AI 3.5"
    assert targets.board("zcu104").toolchain("dnndk-3.0").release == "DNNDK 3.0"
