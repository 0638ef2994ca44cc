"""Facts of a made-up run, whose names are as hostile as names can be, for tests of the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from dnndk_prep.check.network import Network, Op
from dnndk_prep.dpu import targets
from dnndk_prep.report import Picture, ReportFacts

HASH = "0123456789abcdef" * 4
SCRIPT = "</script><script>window.broken = 1</script>"
IMAGE = "<img src=x onerror='window.broken = 2'>"
TOOLCHAINS = ("dnndk-3.1", "vitis-ai-3.5")


def stage(name: str, facts: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A stage.json."""
    made = {
        "stage": name,
        "fingerprint": {"config": {"seed": 7}, "files": {}},
        "seconds": 1.25,
        "artifacts": {"a.pb": {"bytes": 2048, "sha256": HASH}},
        "facts": facts or {},
        "warnings": [],
        "versions": {"tensorflow": "2.21.0", "keras": "3.15.1"},
    }
    return made | more


def accuracy(top1: float | None, reason: str | None = None) -> dict[str, Any]:
    return {"top1": top1, "top5": None, "mean_iou": None, "images": 2000, "reason": reason}


def proof(top1: float) -> dict[str, Any]:
    probe = {"max_abs_diff": 3e-8, "tolerance": 1e-4, "source": "random batch"}
    return {"proof": {"probe": probe, "test": None, "accuracy": accuracy(top1)}}


def network(layers: int = 3, first: str = "x", last: str = "prob") -> Network:
    """first -> conv0, relu0 -> conv1, relu1, add1 (with relu0) -> ... -> last."""
    ops = [Op(first, "Placeholder")]
    before = first
    for i in range(layers):
        weights = Op(f"conv{i}/kernel", "Const", constant_shape=(1, 1, 4, 4))
        ops += [weights, Op(f"conv{i}", "Conv2D", (before, weights.name)), Op(f"relu{i}", "Relu", (f"conv{i}",))]
        if i:
            ops.append(Op(f"add{i}", "Add", (f"relu{i}", before)))
        before = ops[-1].name
    return Network([*ops, Op(last, "Softmax", (before,))], [first], [last], {first: (None, 8, 8, 4)})


def check(of: Network, **changes: dict[str, Any]) -> dict[str, Any]:
    """A check.json's entry: the last node on the CPU, the input folded, the rest on the DPU."""
    last, nodes = of.outputs[0], []
    for op in of.ops.values():
        where = "cpu" if op.name == last else "folded" if op.op in ("Const", "Placeholder") else "dpu"
        limits = {"limit": "not in the DPU", "remedy": "the CPU's"} if where == "cpu" else {}
        told = {"node": op.name, "op": op.op, "placement": where, "rule": op.op.lower()}
        nodes.append({**told, "limit": None, "value": None, "remedy": None, **limits, **changes.get(op.name, {})})
    parts = {name: [n["node"] for n in nodes if n["placement"] == name] for name in ("dpu", "cpu")}
    subgraphs = [{"device": device, "nodes": names} for device, names in parts.items() if names]
    return {"target": "B4096, vai_q_tensorflow", "nodes": nodes, "subgraphs": subgraphs, "findings": []}


def finding(node: str, severity: str = "warning", **more: Any) -> dict[str, Any]:
    told = {"finding": "pool_scale", "severity": severity, "node": node, "what": f"of {IMAGE}", "remedy": "mend it"}
    return told | {"fix": "later_output", "exact": True} | more


def best() -> dict[str, Any]:
    """What the stage tells of the search for better choices."""
    layers = [
        {"layer": "conv0", "rounding": "learned", "layer_error": {"nearest": 0.02, "learned": 0.0123}, "gain": 0.385},
        {"layer": IMAGE, "rounding": "nearest", "layer_error": {"nearest": 0.0, "learned": 0.0}, "gain": None},
    ]
    return {
        "examples": {"learned_from": 80, "held_out": 20},
        "error": {"vendor": 0.0123, "best": 0.00456},
        "equalized": "none",
        "moved": {"positions": {"relu0": -1}},
        "chosen": "best",
        "layers": layers,
    }


def fix_neuron(node: str, kind: str, consumers: list[str]) -> dict[str, Any]:
    return {
        "node": node,
        "kind": kind,
        "op": "Const" if kind == "wquant" else "Relu",
        "bit_width": 8,
        "position": 5,
        "range": [-1.5, 2.5],
        "consumers": consumers,
    }


def error_row(node: str, kind: str, sqnr: str) -> dict[str, str]:
    numbers = {"sqnr_db": sqnr, "cumulative_sqnr_db": "20.5", "max_error": "0.25", "saturation": "0.01"}
    return {"node": node, "kind": kind} | numbers


def facts(folder: Path, layers: int = 3, **changes: Any) -> ReportFacts:
    """A whole run, with markup in the names of nodes, files, images, toolchains' remedies and settings."""
    made = network(layers, first=SCRIPT, last=IMAGE)
    checks = {name: check(made) for name in TOOLCHAINS}
    checks[TOOLCHAINS[1]]["findings"].append(finding("relu0"))
    quantized = {
        "mode": "vendor",
        "flags": {},
        "fix_neurons": 2 * layers,
        "moved": 0,
        "worst": [],
        "accuracy": {"float": accuracy(0.9), "vendor": accuracy(0.895)},
    }
    channels = [{"input": SCRIPT, "channel": i, "min": 0.0, "mean": 0.2 * i, "max": 1.0} for i in range(3)]
    calibration = {"count": 2, "batch_size": 1, "iterations": 2, "is_image": True, "channels": channels}
    bundle = {"folder": "dnndk", "toolchain": "dnndk-3.1", "reader": "1.12", "net_name": IMAGE}
    bundle |= {"calib_iter": 2, "batch_size": 1, "max_abs_diff": 0.0, "tolerance": 1e-4}
    settings = {"calibration.count": 2, "graph.inputs": {IMAGE: SCRIPT}}
    stages = [
        stage("keras_2_tf", proof(0.9), warnings=[IMAGE]),
        stage("freeze_graph", proof(0.9)),
        stage("optimize_for_inference", proof(0.9), artifacts={f"{SCRIPT}.pb": {"bytes": 9, "sha256": HASH}}),
        stage("calib_input", calibration, fingerprint={"config": settings}),
        stage("quantize", quantized),
        stage("export", {"bundles": [bundle]}),
    ]
    board = targets.board("zcu104")
    values: dict[str, Any] = {
        "stages": tuple(stages),
        "board": board,
        "toolchains": board.chosen(),
        "network": made,
        "checks": checks,
        "fix_neurons": [fix_neuron(SCRIPT, "aquant", ["conv0"])]
        + [
            item
            for i in range(layers)
            for item in (fix_neuron(f"relu{i}", "aquant", []), fix_neuron(f"conv{i}/kernel", "wquant", [f"conv{i}"]))
        ],
        "errors": [error_row(f"relu{i}", "aquant", f"{30 + i}") for i in range(layers)]
        # The worst layers are named in the plot, and no number of JSON is infinite.
        + [error_row(SCRIPT, "aquant", "10"), error_row("conv0/kernel", "wquant", "inf")],
        "pictures": pictures(folder),
    }
    return ReportFacts(**values | changes)


def pictures(folder: Path) -> list[Picture]:
    """A small image and a large one, the second with a hostile name."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for name, size in (("small.png", (8, 8)), ("<b>&.png", (300, 200))):
        Image.new("RGB", size, (200, 30, 30)).save(folder / name)
        made.append(Picture(folder / name, label="3"))
    return made
