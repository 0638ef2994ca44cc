"""The emitted scripts, run with stand-in tools that record their arguments."""

from __future__ import annotations

import subprocess
from pathlib import Path

import bundles
import pytest

from dnndk_prep.graph.artifact import TensorSpec

# Writes one argument a line, then the file that the real quantizer would leave.
STAND_IN = """#!/bin/bash
printf '%s\\n' "$@" > "$RECORD/$(basename "$0")"
if [ "$1" = quantize ]; then
  mkdir -p quantize_results
  touch quantize_results/deploy_model.pb quantize_results/quantize_eval_model.pb
fi
"""
HOSTILE = "conv 1/$(touch pwned)`touch pwned`;'\"*/Relu"
SCRIPTS = {"dnndk": ("decent_q.sh", "dnnc.sh"), "vitis_ai": ("quantize.sh", "compile.sh")}
TOOLS = {"dnndk": ("decent_q", "dnnc"), "vitis_ai": ("vai_q_tensorflow", "vai_c_tensorflow")}


class Bench:
    """A bundle in a folder with spaces in its name, and stand-in tools."""

    def __init__(self, root: Path) -> None:
        self.root, self.bin, self.record = root, root / "bin", root / "record"
        self.bin.mkdir()
        self.record.mkdir()
        self.calib = bundles.calibration(root / "calib_input")
        self.folder = root / "my bundle $HOME"

    def write(self, board: str, toolchain: str, **values) -> tuple[str, str]:
        one = bundles.spec(self.calib, board, toolchain, **values)
        bundles.write(self.folder, one)
        for tool in TOOLS[one.toolchain.family]:
            (self.bin / tool).write_text(STAND_IN)
            (self.bin / tool).chmod(0o755)
        if one.toolchain.dcf:
            (self.folder / one.toolchain.dcf).touch()
        return SCRIPTS[one.toolchain.family]

    def run(self, script: str, **env: str) -> subprocess.CompletedProcess[str]:
        # From another folder: the scripts find their own. `true` stands for a Python that finds nothing wrong.
        env = {"PATH": f"{self.bin}:/usr/bin:/bin", "RECORD": str(self.record), "PYTHON": "true", **env}
        return subprocess.run(
            [self.folder / script], cwd=self.root, env=env, capture_output=True, text=True, check=False, timeout=60
        )

    def argv(self, tool: str) -> list[str]:
        return (self.record / tool).read_text().splitlines()

    def flags(self, tool: str) -> dict[str, str]:
        words = self.argv(tool)
        start = 1 if words[0] == "quantize" else 0
        if words[0].startswith("--parser="):
            return dict(word.partition("=")[::2] for word in words)
        return dict(zip(words[start::2], words[start + 1 :: 2], strict=True))


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


QUANTIZE = {
    "--input_frozen_graph": "optimized_graph.pb",
    "--input_nodes": "image",
    "--input_shapes": "?,32,32,3",
    "--output_nodes": "prob/Softmax",
    "--input_fn": "input_fn.calib_input",
    "--method": "1",
    "--calib_iter": "10",
    "--gpu": "0",
    "--output_dir": "quantize_results",
}


@pytest.mark.parametrize(
    ("board", "toolchain", "compiled"),
    [
        ("zcu102", "dnndk-3.0", {"--dpu": "4096FA", "--cpu_arch": "arm64"}),
        ("zedboard", "dnndk-3.0", {"--dpu": "1152FA", "--cpu_arch": "arm32"}),
        ("zcu104", "dnndk-3.1", {"--dcf": "ZCU104.dcf", "--cpu_arch": "arm64"}),
        ("zcu104", "vitis-ai-1.0", {"-f": "quantize_results/deploy_model.pb", "--options": "{'mode':'normal'}"}),
        ("ultra96", "vitis-ai-1.2", {"-f": "quantize_results/deploy_model.pb", "--options": "{'mode':'normal'}"}),
        ("kv260", "vitis-ai-3.5", {"-f": "quantize_results/quantize_eval_model.pb", "-a": "arch.json"}),
    ],
)
def test_the_tools_get_their_arguments(board, toolchain, compiled, bench):
    scripts = bench.write(board, toolchain)
    for script in scripts:
        done = bench.run(script)
        assert done.returncode == 0, done.stderr
    family = "dnndk" if toolchain.startswith("dnndk") else "vitis_ai"
    quantizer, compiler = TOOLS[family]
    assert bench.argv(quantizer)[0] == "quantize"
    assert bench.flags(quantizer) == QUANTIZE
    flags = bench.flags(compiler)
    assert compiled.items() <= flags.items()
    if family == "dnndk":
        assert flags["--frozen_pb"] == "quantize_results/deploy_model.pb"
        assert (flags["--net_name"], flags["--output_dir"]) == ("tiny_cnn", "compile")
    else:
        assert (flags["-n"], flags["-o"]) == ("tiny_cnn", "compile")
        assert ("--options" in flags) == (toolchain in ("vitis-ai-1.0", "vitis-ai-1.2"))


@pytest.mark.parametrize("toolchain", ["dnndk-3.1", "vitis-ai-3.5"])
def test_names_reach_the_tools_literally(toolchain, bench):
    inputs = (TensorSpec(HOSTILE, (None, 8, 8, 1), "float32"), TensorSpec("b", (None, 16), "float32"))
    outputs = (TensorSpec("a b", (None, 2), "float32"), TensorSpec(HOSTILE, (None, 2), "float32"))
    scripts = bench.write("zcu104", toolchain, inputs=inputs, outputs=outputs, net_name="x; touch pwned")
    for script in scripts:
        done = bench.run(script)
        assert done.returncode == 0, done.stderr
    quantizer, compiler = TOOLS["dnndk" if toolchain == "dnndk-3.1" else "vitis_ai"]
    flags = bench.flags(quantizer)
    assert flags["--input_nodes"] == f"{HOSTILE},b"
    assert flags["--input_shapes"] == "?,8,8,1:?,1,1,16"
    assert flags["--output_nodes"] == f"a b,{HOSTILE}"
    assert "x; touch pwned" in bench.flags(compiler).values()
    assert not list(bench.root.rglob("pwned"))


@pytest.mark.parametrize(
    ("toolchain", "script", "tool"),
    [
        ("dnndk-3.1", "decent_q.sh", "decent_q"),
        ("dnndk-3.1", "dnnc.sh", "dnnc"),
        ("vitis-ai-3.5", "quantize.sh", "vai_q_tensorflow"),
        ("vitis-ai-3.5", "compile.sh", "vai_c_tensorflow"),
        ("vitis-ai-1.0", "compile.sh", "vai_c_tensorflow"),
    ],
)
def test_a_missing_tool_is_named(toolchain, script, tool, bench):
    bench.write("zcu104", toolchain)
    (bench.folder / "quantize_results").mkdir()
    for name in ("deploy_model.pb", "quantize_eval_model.pb"):
        (bench.folder / "quantize_results" / name).touch()
    (bench.bin / tool).unlink()
    done = bench.run(script)
    assert done.returncode != 0
    assert f"{script}: {tool} is not" in done.stderr


@pytest.mark.parametrize(
    ("board", "toolchain", "script", "gone"),
    [
        ("zcu104", "dnndk-3.1", "decent_q.sh", "input_fn.py"),
        ("zcu104", "dnndk-3.1", "dnnc.sh", "ZCU104.dcf"),
        ("zcu104", "vitis-ai-3.5", "quantize.sh", "optimized_graph.pb"),
        ("zcu104", "vitis-ai-3.5", "compile.sh", "arch.json"),
        ("zcu104", "vitis-ai-3.5", "compile.sh", "quantize_results/quantize_eval_model.pb"),
        ("ultra96", "vitis-ai-1.1", "compile.sh", "Ultra96.dcf"),
    ],
)
def test_a_missing_file_is_named_and_no_tool_runs(board, toolchain, script, gone, bench):
    scripts = bench.write(board, toolchain)
    if script == scripts[1]:
        assert bench.run(scripts[0]).returncode == 0
        for record in bench.record.iterdir():
            record.unlink()
    (bench.folder / gone).unlink()
    done = bench.run(script)
    assert done.returncode == 1
    assert f"{script}: {gone} is not here" in done.stderr
    assert not list(bench.record.iterdir())


def test_the_dcf_may_lie_elsewhere(bench):
    bench.write("zcu104", "dnndk-3.1")
    other = bench.root / "own board.dcf"
    other.touch()
    assert bench.run("decent_q.sh").returncode == 0
    assert bench.run("dnnc.sh", DCF=str(other)).returncode == 0
    assert bench.flags("dnnc")["--dcf"] == str(other)


@pytest.mark.parametrize(("toolchain", "script"), [("dnndk-3.1", "decent_q.sh"), ("vitis-ai-3.5", "quantize.sh")])
@pytest.mark.parametrize(("code", "starts"), [(0, True), (1, False), (2, True)])
def test_the_tool_starts_unless_the_folder_does_not_fit(toolchain, script, code, starts, bench):
    bench.write("zcu104", toolchain)
    python = bench.root / "my python"
    python.write_text(f'#!/bin/sh\necho "$@" > "$RECORD/python"\nexit {code}\n')
    python.chmod(0o755)
    done = bench.run(script, PYTHON=str(python))
    assert (bench.record / "python").read_text() == "check.py\n"
    assert (done.returncode == 0) == starts
    tools = {path.name for path in bench.record.iterdir()} - {"python"}
    assert bool(tools) == starts
    assert ("not checked" in done.stderr) == (code == 2)
    assert ("was not started" in done.stderr) == (code == 1)


def test_a_failing_tool_fails_the_script(bench):
    bench.write("zcu104", "vitis-ai-3.5")
    (bench.bin / "vai_q_tensorflow").write_text("#!/bin/sh\nexit 7\n")
    done = bench.run("quantize.sh")
    assert done.returncode == 7
    assert "done" not in done.stdout
