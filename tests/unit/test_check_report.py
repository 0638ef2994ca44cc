"""What the report tells of the operator check."""

from __future__ import annotations

from dnndk_prep import report
from dnndk_prep.dpu import targets

CHECK = {
    "toolchain": "vitis-ai-3.5",
    "target": "DPUCZDX8G_ISA1_B4096, vai_q_tensorflow",
    "verdict": "2 nodes on the CPU, 3 subgraphs",
    "rules": [
        {
            "node": "a/b",
            "rule": "conv.dilation",
            "code": "K2D-0022",
            "limit": "at most 4096",
            "value": "17",
            "remedy": "two convolutions",
        },
        {
            "node": "soft",
            "rule": "softmax",
            "code": None,
            "limit": "not in the DPU",
            "value": None,
            "remedy": "the CPU",
        },
    ],
    "findings": [{"node": "n", "finding": "rescaling", "code": None, "what": "rounded *twice*", "remedy": "before"}],
}


def rendered(checks: list[dict]) -> str:
    stage = {
        "stage": "dpu_check",
        "seconds": 0.1,
        "artifacts": {},
        "facts": {"checks": checks},
        "warnings": [],
        "versions": {},
    }
    board = targets.board("zcu104")
    return report.render(report.ReportFacts((stage,), board, board.chosen()))


def test_the_forecast_has_its_rules_and_findings():
    text = rendered([CHECK])
    assert "| vitis-ai-3.5 | DPUCZDX8G" in text
    assert "2 nodes on the CPU, 3 subgraphs" in text
    assert "- vitis-ai-3.5: `a/b`: `conv.dilation` (K2D-0022), at most 4096, found 17; do: two convolutions" in text
    assert "`softmax`, not in the DPU; do: the CPU" in text
    assert r"rounded \*twice\*; do: before" in text


def test_without_a_check_there_is_no_section():
    assert "On the DPU" not in rendered([])
