"""From a user's words to a target: boards, DPUs, fingerprints, arch.json, DCFs, and the errors of wrong ones."""

from __future__ import annotations

import json

import pytest

from dnndk_prep.dpu import targets
from dnndk_prep.dpu.arch_json import arch_json
from dnndk_prep.dpu.configuration import configured, parse
from dnndk_prep.dpu.limits import Span
from dnndk_prep.dpu.resolve import of_fingerprint, resolve_target, toolchain_for
from dnndk_prep.errors import ModelFileError, UsageError

# The words of a DCF; what stands between `ReLU Type` and the ports is of no use here.
DCF = (
    "Number of DPU Cores:1;Arch of DPU:B2304;RAM Usage:High;Channel Augmentation:Disabled;DepthWiseConv:Enabled;"
    "AveragePool:Disabled;ReLU Type:ReLU + LeakyReLU + ReLU6;Number of SFM cores:1;Target Version:1.4.1;"
    "M-AXI HP Data Width (DPU):128"
)


@pytest.mark.parametrize(
    ("text", "release", "name", "chain"),
    [
        ("zcu104", None, "DPUCZDX8G_ISA1_B4096", "vitis-ai-3.5"),
        ("ZCU104", "Vitis-AI-1.3", "DPUCZDX8G_ISA0_B4096_MAX_BG2", "vitis-ai-1.3"),
        ("ultra96", None, "DPUCZDX8G_ISA0_B1600_01000020F2014404", "vitis-ai-2.0"),
        ("pynq-z2", None, "B1152", "dnndk-3.1"),
        ("dpuczdx8g_isa1_b800", None, "DPUCZDX8G_ISA1_B800", "vitis-ai-3.5"),
        ("DPUCZDX8G_ISA1_B4096", "vitis-ai-2.5", "DPUCZDX8G_ISA1_B4096", "vitis-ai-2.5"),
        ("DPUCZDX8G_ISA0_B4096_MAX", None, "DPUCZDX8G_ISA0_B4096_MAX", "vitis-ai-2.0"),
        ("0X101000016010407", None, "DPUCZDX8G_ISA1_B4096", "vitis-ai-2.5"),
        ("0101000016010407", None, "DPUCZDX8G_ISA1_B4096", "vitis-ai-2.5"),
        ("0x101000016010407", "vitis-ai-3.5", "DPUCZDX8G_ISA1_B4096_0101000016010407", "vitis-ai-3.5"),
        ("DPUCZDX8G_ISA1_B4096_0101000016010407", None, "DPUCZDX8G_ISA1_B4096", "vitis-ai-2.5"),
        ("0x900000044000414", None, "DPUCV2DX8G_ISA0_C16M4B1_0900000044000414", None),
    ],
)
def test_targets(text, release, name, chain):
    target = resolve_target(text, release)
    assert target.dpu.name == name
    assert (target.toolchain.name if target.toolchain else None) == chain
    assert (target.board is not None) == (text.lower() in {board.name for board in targets.boards()})


def test_one_name_by_release():
    found = {
        release: resolve_target("DPUCZDX8G_ISA1_B4096", release).dpu.fingerprint
        for release in ("vitis-ai-2.5", "vitis-ai-3.0", "vitis-ai-3.5")
    }
    assert found == {
        "vitis-ai-2.5": "0x101000016010407",
        "vitis-ai-3.0": "0x101000056010407",
        "vitis-ai-3.5": "0x101000056010407",
    }


def test_limits_by_release():
    dpus = [resolve_target("0x1000020f6014407", release).dpu for release in ("vitis-ai-1.3", "vitis-ai-1.4")]
    assert [str(dpu.max_pool.kernel) for dpu in dpus] == ["2-8", "1-8"]


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("zcu140", "zcu104"),
        ("DPUCZDX8G_ISA1_B4069", "DPUCZDX8G_ISA1_B4096"),
        ("dpuczdx8g_isa0_b4096_max_bg", "DPUCZDX8G_ISA0_B4096_MAX_BG2"),
        ("pynqz2", "pynq-z2"),
        ("B4096", "DPUCZDX8G_ISA1_B4096"),
    ],
)
def test_unknown_targets_name_the_nearest(text, near):
    with pytest.raises(UsageError) as caught:
        resolve_target(text)
    assert near in caught.value.remedy


@pytest.mark.parametrize(
    ("text", "release", "words"),
    [
        ("zcu104", "vitis-ai-3.6", "there is no toolchain"),
        ("kv260", "vitis-ai-1.3", "KV260 has no toolchain"),
        ("DPUCZDX8G_ISA0_B4096_MAX", "vitis-ai-3.5", "has no DPU DPUCZDX8G_ISA0_B4096_MAX"),
        ("0x101000056010407", "vitis-ai-2.0", "compiles for no DPUCZDX8G ISA1"),
        ("0x101000056010407", "vitis-ai-1.2", "compiles for no DPUCZDX8G ISA1"),
        ("0x20200000000002b", "vitis-ai-1.3", "no source tells what its bits mean"),
    ],
)
def test_releases_that_do_not_know_the_target(text, release, words):
    with pytest.raises(UsageError, match=words):
        resolve_target(text, release)


def test_instruction_set_0_is_said_to_be_refused_from_2_5_on():
    dpu = of_fingerprint("0x1000020f6014407", "vitis-ai-3.5")
    assert dpu.conv.kernel == Span(((1, 16),))
    assert "refuses instruction set 0" in dpu.notes[0]
    assert of_fingerprint("0x1000020f6014407", "vitis-ai-2.0").notes == ()


def test_a_dpu_of_its_own_is_compiled_for_by_name_where_it_is_listed():
    dpu = of_fingerprint("0x101000016010407")
    assert toolchain_for(dpu, "vitis-ai-2.5").target == "DPUCZDX8G_ISA1_B4096"
    assert toolchain_for(dpu, "vitis-ai-3.5").custom_fingerprint == "0x101000016010407"
    with pytest.raises(UsageError, match="compiles for a DCF"):
        toolchain_for(dpu, "vitis-ai-1.2")


@pytest.mark.parametrize(
    ("facts", "name", "board"),
    [
        ({"target": "DPUCZDX8G_ISA1_B4096"}, "DPUCZDX8G_ISA1_B4096", None),
        ({"target": "DPUCZDX8G_ISA1_B4096_0101000016010407"}, "DPUCZDX8G_ISA1_B4096", None),
        ({"fingerprint": "0x0101000016010407"}, "DPUCZDX8G_ISA1_B4096", None),
        ({"target": "DPUv2", "dcf": "/opt/vitis_ai/arch/ZCU102.dcf", "cpu_arch": "arm64"}, "B4096", "zcu102"),
        ({"target": "DPUCZDX8G", "dcf": "own.dcf", "cpu_arch": "arm64"}, "B2304", None),
    ],
)
def test_arch_json(tmp_path, facts, name, board):
    (tmp_path / "own.dcf").write_bytes(b"\x08\x01" + DCF.encode())
    path = tmp_path / "arch.json"
    path.write_text(json.dumps(facts))
    target = resolve_target(str(path), "vitis-ai-1.2" if board else None)
    assert target.dpu.name == name
    assert (target.board.name if target.board else None) == board


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is no JSON"),
        ("[" * 50_000, "is no JSON"),
        ('["zcu102"]', "is no arch.json"),
        ('{"arch": "B4096"}', "is no arch.json"),
        ('{"target": 5}', "is no name"),
        ('{"target": "\\u001b[31mred"}', "is no name"),
        ('{"target": "0x101000056010407"}', "gives a fingerprint as the target's name"),
        ('{"target": "DPUv2", "dcf": "gone.dcf"}', "which is not there"),
        ('{"target": "' + "a" * 70_000 + '"}', "is too large"),
    ],
)
def test_arch_json_that_is_none(tmp_path, text, words):
    path = tmp_path / "arch.json"
    path.write_text(text)
    with pytest.raises(ModelFileError, match=words):
        resolve_target(str(path))


def test_a_file_that_is_not_there():
    with pytest.raises(ModelFileError, match="cannot be read"):
        resolve_target("/nowhere/arch.json")


def test_a_dcf_and_the_hardware_description_it_is_made_from(tmp_path):
    (tmp_path / "own.dcf").write_bytes(b"\xef\xea(0\x12\n" + DCF.encode() + b"\n")
    (tmp_path / "own.hwh").write_text(f'<PARAMETER NAME="DNNDK_PRINT" VALUE="{DCF}"/>\n<OTHER VALUE="x;y:z"/>')
    first, second = (resolve_target(str(tmp_path / name)).dpu for name in ("own.dcf", "own.hwh"))
    assert first.conv == second.conv
    assert (first.arch, len(first.image_banks), first.avg_pool, first.channel_augmentation) == ("B2304", 3, None, None)
    assert first.depthwise.parallel == 4


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("Number of DPU", "Number of", "describes no DPU"),
        ("B2304", "B9999", "no DPU is a"),
        ("DepthWiseConv:Enabled;", "", "does not say 'DepthWiseConv'"),
        ("Cores:1", "Cores:one", "is no number"),
    ],
)
def test_a_dcf_that_is_none(old, new, words):
    with pytest.raises(ModelFileError, match=words):
        parse(DCF.replace(old, new).encode(), "own.dcf")


def test_a_dcf_goes_with_the_releases_that_compile_for_one(tmp_path):
    path = tmp_path / "own.dcf"
    path.write_text(DCF)
    chain = resolve_target(str(path), "DNNDK-3.1").toolchain
    assert chain is not None
    assert (chain.reader, chain.dcf) == ("1.12", "own.dcf")
    old = resolve_target(str(path), "vitis-ai-1.2").toolchain
    assert old is not None
    assert arch_json(old) == {"target": "DPUCZDX8G", "dcf": "own.dcf", "cpu_arch": "arm64"}
    for release in ("dnndk-3.0", "vitis-ai-1.3"):
        with pytest.raises(UsageError, match="compiles for no DCF") as caught:
            resolve_target(str(path), release)
        assert caught.value.expected == "dnndk-3.1, vitis-ai-1.0, vitis-ai-1.1, vitis-ai-1.2"


def test_the_boards_rows_are_what_their_dcfs_say():
    """The DCF's words of Ultra96 and ZedBoard (DNNDK 3.1), as far as they matter."""
    words = "Number of DPU Cores:1;Arch of DPU:{};RAM Usage:Low;Channel Augmentation:{};DepthWiseConv:{};"
    words += "AveragePool:Enabled;ReLU Type:{};Number of SFM cores:0;Target Version:1.4.0;M-AXI HP Data Width (DPU):{}"
    texts = {
        "ultra96": words.format("B1600", "Disabled", "Enabled", "ReLU + LeakyReLU + ReLU6", 128),
        "zedboard": words.format("B1152", "Enabled", "Disabled", "ReLU + ReLU6", 64),
    }
    for name, text in texts.items():
        row = targets.board(name).configuration
        assert parse(text.encode(), row.source) == row
        assert configured(row).arch == targets.board(name).arch


@pytest.mark.parametrize("text", ["", "a-b", "1-", "1,2"])
def test_spans_that_are_none(text):
    with pytest.raises(ValueError, match="no range"):
        Span.parse(text)


def test_spans():
    span = Span.parse("1-3 7")
    assert [value for value in range(9) if value in span] == list(span) == [1, 2, 3, 7]
    assert (str(span), span.low, span.high) == ("1-3, 7", 1, 7)
