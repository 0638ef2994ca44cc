"""The content of arch.json, which tells vai_c which DPU to compile for, in the words of each release."""

from __future__ import annotations

from dnndk_prep.dpu.targets import Toolchain
from dnndk_prep.errors import UsageError


def arch_json(toolchain: Toolchain, cpu_arch: str = "arm64") -> dict[str, str]:
    """A DCF up to Vitis AI 1.2, a target name from 1.3 on, a fingerprint where the release lists no such DPU.

    Source: UG1414, "Compiling the Model", of each release. Raises UsageError for DNNDK, whose dnnc takes the DPU on
    its command line.
    """
    dcf = toolchain.dcf or toolchain.stock_dcf
    if toolchain.dcf_target and dcf:
        return {"target": toolchain.dcf_target, "dcf": dcf, "cpu_arch": cpu_arch}
    if toolchain.target:
        return {"target": toolchain.target}
    if toolchain.custom_fingerprint:
        return {"fingerprint": toolchain.custom_fingerprint}
    raise UsageError(
        f"{toolchain.release} has no arch.json",
        expected="a Vitis AI release",
        found=toolchain.name,
        remedy="dnnc takes --dpu (DNNDK 3.0) or --dcf (DNNDK 3.1)",
    )
