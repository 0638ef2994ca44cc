"""Writes the Vitis AI bundle for TensorFlow 1: vai_q_tensorflow quantizes, vai_c_tensorflow compiles."""

from __future__ import annotations

import json
from pathlib import Path

from dnndk_prep.errors import StageError
from dnndk_prep.export import bundle
from dnndk_prep.export.bundle import BundleSpec

ARCH_FILE = "arch.json"


def write_bundle(folder: Path, spec: BundleSpec) -> None:
    """Write `quantize.sh`, `compile.sh`, `arch.json`, README.md, the graph and the calibration data into `folder`.

    `folder` is made. arch.json names the DPU as the release wants it: a DCF file up to 1.2, a target name from
    1.3 on, a fingerprint where no name stands for the board (UG1414, "Compiling the Model").
    Raises StageError for an input whose shape the quantizer cannot be told, and for a toolchain without arch.json.
    """
    arch = spec.toolchain.arch
    if arch is None:
        raise StageError(f"{spec.toolchain.name} has no arch.json", expected="a Vitis AI release")
    # A DCF by absolute path lies in the container; any other is a file that the user brings into the bundle.
    stock_dcf = arch["dcf"] if "dcf" in arch and spec.toolchain.dcf is None else None
    values = {"arch_file": ARCH_FILE, "arch_text": json.dumps(arch), "stock_dcf": stock_dcf}
    bundle.write_bundle(folder, spec, ("quantize.sh", "compile.sh"), values)
    (folder / ARCH_FILE).write_text(json.dumps(arch, indent=2) + "\n", encoding="utf-8")
