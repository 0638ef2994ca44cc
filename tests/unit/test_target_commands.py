"""The command `targets`: its tables, JSON, comparisons, and the reports of boards."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from dnndk_prep.cli import main
from dnndk_prep.dpu import targets, xdputil

KERNEL = {"DPU Arch": "DPUCZDX8G_ISA1_B4096", "DPU Frequency (MHz)": 300, "fingerprint": "0x101000016010407"}
SOFTMAX = {"DPU Arch": "", "cu_name": "sfm_xrt_top:sfm_xrt_top_1", "fingerprint": "0x0", "name": "DPU Core 3"}


def report(*kernels: dict) -> str:
    facts = {
        "DPU IP Spec": {"DPU Core Count": len(kernels), "IP version": "v4.0.0"},
        "VAI Version": {"target_factory": "target-factory.2.5.0 c26eae"},
        "kernels": list(kernels),
    }
    return json.dumps(facts, indent=4)


def console(text: str) -> str:
    """The report amid what a terminal shows around it."""
    return (
        "root@zcu102:~# xdputil query\nWARNING: Logging before InitGoogleLogging() is written to STDERR\n"
        "E0107 13:31:07.462556   934 xdputil_query.cpp:196] Unsupported platform fingerprint: 0, cu_idx: 3 {\n"
        f"{text}\nroot@zcu102:~# echo '{{'\n"
    )


def run(capsys, *words: str) -> tuple[int, str]:
    code = main(["targets", *words])
    captured = capsys.readouterr()
    return code, captured.out + captured.err


def test_the_table_of_boards(capsys):
    code, text = run(capsys)
    assert code == 0
    for board in targets.boards():
        assert f"\n{board.name}" in text
    assert "DNNDK 3.0-3.1, Vitis AI 1.0-3.5" in text
    assert max(map(len, text.splitlines())) <= 100


def test_the_boards_of_one_release(capsys):
    names = [row["name"] for row in json.loads(run(capsys, "--json", "--toolchain", "vitis-ai-1.3")[1])]
    assert names == ["zcu102", "zcu104", "ultra96", "vck190"]


def test_the_table_of_dpus(capsys):
    code, text = run(capsys, "--all")
    assert code == 0
    assert "DPUCZDX8G_ISA1_B4096                0x101000016010407  Vitis AI 2.5\n" in text
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize("board", [board.name for board in targets.boards()])
def test_every_board_with_every_release(capsys, board):
    for chain in targets.board(board).toolchains:
        code, text = run(capsys, board, "--toolchain", chain.name)
        assert code == 0
        assert f"with {chain.release}" in text
        assert chain.fingerprint is None or chain.fingerprint in text
        assert max(map(len, text.splitlines())) <= 100


def test_a_fingerprint_without_0x_leaves_no_release_to_choose(capsys):
    for text in ("0x101000016010407", "101000016010407"):
        code, said = run(capsys, text, "zcu104", "--toolchain", "vitis-ai-3.5")
        assert code == 0, said
        assert "argmax" in said


def test_what_has_no_fingerprint_is_told_what_has(capsys):
    assert "--toolchain vitis-ai-3.5" in run(capsys, "zcu104", "zcu102", "--toolchain", "dnndk-3.1")[1]
    assert "`dexplorer -w`" in run(capsys, "zedboard", "zcu104")[1]
    code, said = run(capsys, "0x10100001601040722")
    assert (code, "up to 16 hexadecimal digits" in said) == (2, True)


def test_one_board_as_json(capsys):
    facts = json.loads(run(capsys, "zcu104", "--toolchain", "vitis-ai-2.5", "--json")[1])
    assert facts["dpu"]["fingerprint"] == "0x101000016010407"
    assert facts["toolchain"]["arch_json"] == {"target": "DPUCZDX8G_ISA1_B4096"}
    assert facts["dpu"]["limits"]["conv_weights"] == {"width": 16, "depth": 2048, "words": 1}
    assert facts["same_name"] == [{"fingerprint": "0x101000056010407", "releases": ["vitis-ai-3.0", "vitis-ai-3.5"]}]


def test_two_targets_bit_by_bit(capsys):
    code, text = run(capsys, "0x101000016010407", "zcu104")
    assert code == 0
    assert "30    argmax  off    on" in text
    assert "does not load on the other" in text
    assert "The same fingerprint" in run(capsys, "zcu102", "kv260")[1]


def test_a_target_without_fingerprint_is_not_compared(capsys):
    code, text = run(capsys, "zcu102", "zedboard")
    assert code == 2
    assert "zedboard has no fingerprint" in text


@pytest.mark.parametrize("around", [str, console])
def test_the_boards_report_matches(capsys, tmp_path, around):
    path = tmp_path / "query.txt"
    path.write_text(around(report(KERNEL, KERNEL, SOFTMAX)))
    code, text = run(capsys, "--xdputil", str(path), "zcu102", "--toolchain", "vitis-ai-2.5")
    assert code == 0
    assert "2 x 0x101000016010407  DPUCZDX8G_ISA1_B4096 @ 300 MHz  (Vitis AI 2.5)" in text
    assert "They match" in text


def test_the_boards_report_does_not_match(capsys, tmp_path):
    path = tmp_path / "query.json"
    path.write_text(report(KERNEL, SOFTMAX))
    code, text = run(capsys, "--xdputil", str(path), "zcu102")
    assert code == 7
    assert "30    argmax  on        off" in text
    assert '{"fingerprint": "0x101000016010407"}' in text
    code, text = run(capsys, "--xdputil", str(path), "zcu102", "--json")
    facts = json.loads(text)
    assert (code, facts["matches"], facts["kernels"][0]["arch_json"]["fingerprint"]) == (7, False, "0x101000016010407")


@pytest.mark.parametrize(
    ("fingerprint", "board", "release", "words"),
    [
        # A board with an older image: newer compilers refuse it.
        ("0x1000020f6014407", "zcu102", "vitis-ai-3.5", "refuses instruction set 0"),
        # A board with a newer image than the release knows.
        ("0x101000056010407", "zcu102", "vitis-ai-2.0", "compiles for no DPUCZDX8G ISA1"),
    ],
)
def test_where_no_arch_json_helps(capsys, tmp_path, fingerprint, board, release, words):
    path = tmp_path / "query.txt"
    path.write_text(report({"fingerprint": fingerprint}))
    code, text = run(capsys, "--xdputil", str(path), board, "--toolchain", release)
    assert code == 7
    assert words in text
    assert "arch.json" not in text


def test_a_report_alone(capsys, tmp_path):
    path = tmp_path / "query.txt"
    path.write_text(report(KERNEL))
    code, text = run(capsys, "--xdputil", str(path))
    assert code == 0
    assert '{"fingerprint": "0x101000016010407"}' in text
    # The same name with another release is what does not load.
    assert run(capsys, "--xdputil", str(path), "--toolchain", "vitis-ai-3.5")[0] == 7
    assert run(capsys, "--xdputil", str(path), "--toolchain", "vitis-ai-2.5")[0] == 0


@pytest.mark.parametrize(
    "text",
    [
        "device_core_id=0 device= 0 core = 0 fingerprint = 0x101000016010407 batch = 1 full_cu_name=DPUCZDX8G",
        "CHECK fingerprint fail ! model_fingerprint 0x101000056010407 dpu_fingerprint 0x101000016010407",
        'cut off: "kernels":[ { "cu_idx":0, "fingerprint":"0x101000016010407", "name":"DPU Core 0',
        report({"DPU Arch": "DPUCZDX8G_ISA1_B4096_0101000016010407"}),
    ],
)
def test_other_ways_to_hear_of_the_fingerprint(tmp_path, text):
    path = tmp_path / "log.txt"
    # The last is how PowerShell writes it.
    for coding in ("utf-8", "utf-8-sig", "utf-16"):
        path.write_text(text, encoding=coding)
        assert [kernel.fingerprint for kernel in xdputil.read_report(path).kernels] == ["0x101000016010407"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "an empty file"),
        (b"\xff\xfe\x00binary", "holds no DPU's fingerprint"),
        (report(SOFTMAX).encode(), "holds no DPU's fingerprint"),
        (b'{"kernels": ' + b"[" * 100_000, "holds no DPU's fingerprint"),
        (b'{"kernels": {"fingerprint": 5}}', "holds no DPU's fingerprint"),
        (b" " * (1 << 23), "is too large"),
    ],
)
def test_files_that_are_no_report(capsys, tmp_path, data, words):
    path = tmp_path / "query.txt"
    path.write_bytes(data)
    code, text = run(capsys, "--xdputil", str(path), "zcu102")
    assert code == 3
    assert words in text


def test_a_report_that_is_not_there(capsys):
    assert run(capsys, "--xdputil", "/nowhere/query.txt")[0] == 3


def test_a_release_without_fingerprints_is_not_compared(capsys, tmp_path):
    path = tmp_path / "query.txt"
    path.write_text(report(KERNEL))
    code, text = run(capsys, "--xdputil", str(path), "zcu102", "--toolchain", "vitis-ai-1.2")
    assert code == 2
    assert "holds a fingerprint" in text


@pytest.mark.parametrize("words", [["a", "b", "c"], ["--all", "zcu102"], ["--xdputil", "f", "a", "b"]])
def test_too_many_targets(capsys, words):
    assert run(capsys, *words)[0] == 2


def test_nothing_slow_is_imported():
    code = (
        "import sys; from dnndk_prep.cli import main; main(['targets', 'zcu102']);"
        "sys.exit(str({'tensorflow', 'keras', 'numpy', 'pydantic', 'h5py'} & set(sys.modules) or '') or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
