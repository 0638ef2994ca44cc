"""Writes the Vitis AI bundle for TensorFlow 1: vai_q_tensorflow quantizes, vai_c_tensorflow compiles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dnndk_prep.dpu.arch_json import arch_json
from dnndk_prep.export import bundle
from dnndk_prep.export.bundle import BundleSpec

ARCH_FILE = "arch.json"


def write_bundle(folder: Path, spec: BundleSpec) -> None:
    """Write `quantize.sh`, `compile.sh`, `arch.json`, `check.py`, README.md, the graph and the calibration data.

    `folder` is made. Raises StageError for an input whose shape the quantizer cannot be told.
    """
    bundle.write_graph_bundle(folder, spec, ("quantize.sh", "compile.sh"), arch_values(spec))
    write_arch(folder, spec)


def arch_values(spec: BundleSpec) -> dict[str, Any]:
    """What the templates of a Vitis AI release say about the DPU."""
    arch = arch_json(spec.toolchain, spec.board.cpu_arch)
    return {"arch_file": ARCH_FILE, "arch_text": json.dumps(arch), "stock_dcf": spec.toolchain.stock_dcf}


def write_arch(folder: Path, spec: BundleSpec) -> None:
    """Write arch.json, which tells the compiler the DPU."""
    arch = arch_json(spec.toolchain, spec.board.cpu_arch)
    (folder / ARCH_FILE).write_text(json.dumps(arch, indent=2) + "\n", encoding="utf-8")
