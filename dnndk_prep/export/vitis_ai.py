"""Writes the Vitis AI bundle for TensorFlow 1: vai_q_tensorflow quantizes, vai_c_tensorflow compiles."""

from __future__ import annotations

import json
from pathlib import Path

from dnndk_prep.dpu.arch_json import arch_json
from dnndk_prep.export import bundle
from dnndk_prep.export.bundle import BundleSpec

ARCH_FILE = "arch.json"


def write_bundle(folder: Path, spec: BundleSpec) -> None:
    """Write `quantize.sh`, `compile.sh`, `arch.json`, README.md, the graph and the calibration data into `folder`.

    `folder` is made. Raises StageError for an input whose shape the quantizer cannot be told.
    """
    arch = arch_json(spec.toolchain, spec.board.cpu_arch)
    values = {"arch_file": ARCH_FILE, "arch_text": json.dumps(arch), "stock_dcf": spec.toolchain.stock_dcf}
    bundle.write_bundle(folder, spec, ("quantize.sh", "compile.sh"), values)
    (folder / ARCH_FILE).write_text(json.dumps(arch, indent=2) + "\n", encoding="utf-8")
