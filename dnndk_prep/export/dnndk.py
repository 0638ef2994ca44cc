"""Writes the DNNDK bundle: decent_q quantizes, dnnc compiles to an ELF that is linked into the program on the board."""

from __future__ import annotations

from pathlib import Path

from dnndk_prep.export import bundle
from dnndk_prep.export.bundle import BundleSpec


def write_bundle(folder: Path, spec: BundleSpec) -> None:
    """Write `decent_q.sh`, `dnnc.sh`, `check.py`, README.md, the graph and the calibration data.

    `folder` is made. Raises StageError for an input whose shape the quantizer cannot be told.
    """
    bundle.write_graph_bundle(folder, spec, ("decent_q.sh", "dnnc.sh"), {})
