"""A DPU from the bits of its fingerprint alone, as the vendor's target factory builds those that no release lists."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dnndk_prep.dpu.bits import ALU_MODES, ARCHITECTURES, BANK_DEPTHS, Architecture
from dnndk_prep.dpu.dpus import Dpu
from dnndk_prep.dpu.fingerprint import decode, normal
from dnndk_prep.dpu.limits import Bank, Span, Window
from dnndk_prep.errors import UsageError

_SOURCE = "Xilinx/Vitis-AI, src/vai_runtime/target_factory/src/{}@v3.5 (bits of the fingerprint)"
_FILES = {
    ("DPUCZDX8G", 0): "create_target_v2.cpp",
    ("DPUCZDX8G", 1): "create_target_DPUCZDX8G_ISA1.cpp",
    ("DPUCVDX8G", 2): "create_target_DPUCVDX8G_ISA2.cpp",
    ("DPUCVDX8G", 3): "create_target_DPUCVDX8G_ISA3.cpp",
    ("DPUCV2DX8G", 0): "create_target_DPUCV2DX8G_ISA0.cpp",
    ("DPUCV2DX8G", 1): "create_target_DPUCV2DX8G_ISA1.cpp",
}
_ALU = ("dwconv", "prelu", "avg_pool", "max_pool", "leaky_relu", "max_reduce", "dwconv_no_bias", "hsigmoid", "w16b0")
_HARD = ("hsigmoid", "hswish")


def built(fingerprint: str) -> Dpu:
    """The DPU with this fingerprint, by its bits; named as the vendor's tools name it, `DPUCZDX8G_ISA1_B4096_01...`.

    Raises UsageError for families and instruction sets whose bits no source documents, and for unknown architectures.
    """
    text = normal(fingerprint)
    parts = decode(text)
    key = (parts.family, parts.isa)
    if key not in _FILES:
        raise UsageError(
            f"no Vitis AI release lists the fingerprint {text}, and no source tells what its bits mean",
            expected="a listed fingerprint, or one of " + ", ".join(f"{family} ISA{isa}" for family, isa in _FILES),
            found=f"{parts.family} ISA{parts.isa}",
            remedy="compare it digit by digit with what `xdputil query` prints on the board",
        )
    known = ARCHITECTURES[parts.family]
    if parts.fields["arch"] >= len(known):
        raise UsageError(
            f"the fingerprint {text} names an architecture that no source knows",
            expected=f"0 to {len(known) - 1} in its last digit",
            found=str(parts.fields["arch"]),
            remedy="compare it digit by digit with what `xdputil query` prints on the board",
        )
    arch, fields = known[parts.fields["arch"]], parts.fields
    facts = {"DPUCZDX8G": _zynqmp, "DPUCVDX8G": _versal, "DPUCV2DX8G": _versal_ml}[parts.family](
        parts.isa, arch, fields
    )
    return Dpu(
        name=f"{parts.family}_ISA{parts.isa}_{_label(parts.family, parts.isa, arch, fields)}_{int(text, 16):016X}",
        family=parts.family,
        isa=parts.isa,
        releases=(),
        fingerprint=text,
        source=_SOURCE.format(_FILES[key]),
        **facts,
    )


def zynqmp_isa0(arch: Architecture, fields: Mapping[str, int]) -> dict[str, Any]:
    """What a DPUCZDX8G of instruction set 0 can, by the fields of dnndk_prep.dpu.bits; the DCFs' DPUs are such."""
    width = arch.inputs
    nonlinear = ("relu", *(("leaky_relu",) * fields["conv_leaky"]), *(("relu_six",) * fields["conv_relu6"]))
    depthwise = None
    if fields["depthwise_parallel"]:
        depthwise = Window(
            _span(1, 16),
            _span(1, 8),
            nonlinear=("relu", *(("relu_six",) * fields["depthwise_relu6"])),
            parallel=fields["depthwise_parallel"],
        )
    pool: dict[str, Any] = {"stride": _span(1, 8), "nonlinear": ("relu",), "parallel": fields["pool_parallel"]}
    return {
        **_common(arch, fields),
        "batch": None,
        "banks": (
            *_images(fields["image_groups"], Bank("VB", arch.pixels, width, 2048)),
            Bank("CONVW", arch.outputs, width, 2048),
            *((Bank("DWCONVW", 1, width, 2048),) if depthwise else ()),
            Bank("BIAS", 1, width, 2048),
        ),
        "conv": Window(_span(1, 16), _span(1, 8), nonlinear=nonlinear),
        "depthwise": depthwise,
        "max_pool": Window(_span(1, 8), **pool),
        "avg_pool": Window(_span(2, 8), square=True, **pool) if fields["avg_pool"] else None,
        "max_reduce": bool(fields["max_reduce"]),
        "eltwise": ("add", "mult") if fields["eltwise_mult"] else ("add",),
        "eltwise_parallel": fields["eltwise_parallel"],
        "alu": (),
        "argmax": False,
    }


def _zynqmp(isa: int, arch: Architecture, fields: Mapping[str, int]) -> dict[str, Any]:
    if isa == 0:
        return zynqmp_isa0(arch, fields)
    width, leaky = arch.inputs, ("leaky_relu",) * fields["conv_leaky"]
    return {
        **_common(arch, fields),
        "batch": None,
        "banks": (
            *_images(fields["image_groups"], Bank("VB", arch.pixels, width, 2048)),
            Bank("CONVW", arch.outputs, width, 2048),
            Bank("DWCONVW", 1, width, 2048),
            Bank("BIAS", 1, width, 2048),
        ),
        "conv": Window(_span(1, 16), _span(1, 8), _rows(arch, fields["conv_width_log2"]), ("relu", *leaky, "relu_six")),
        **_alu_engine(arch, fields, "leaky_relu" if fields["depthwise_leaky"] else None),
        "alu": _ALU,
        "argmax": bool(fields["argmax"]),
    }


def _versal(isa: int, arch: Architecture, fields: Mapping[str, int]) -> dict[str, Any]:
    images, weights = BANK_DEPTHS[fields["bank_depths"]] if fields["bank_depths"] < len(BANK_DEPTHS) else (0, 0)
    mode = ALU_MODES[fields["alu_mode"]] if isa == 2 and fields["alu_mode"] < len(ALU_MODES) else "3D"
    if not images or (isa == 2 and mode == "none"):
        raise UsageError(
            "the fingerprint holds a number of bank_depths or alu_mode that no listed DPU has",
            found=f"bank_depths {fields['bank_depths']}, alu_mode {fields.get('alu_mode', '-')}",
            remedy="compare it digit by digit with what `xdputil query` prints on the board",
        )
    width = arch.inputs
    leaky = ("leaky_relu",) if fields["conv_leaky"] else ()
    relu6 = ("relu_six",) if isa == 3 or fields["conv_relu6"] else ()
    if isa == 3:
        engine = _alu_engine(arch, fields, "leaky_relu" if fields["depthwise_leaky"] else None)
    else:
        engine = _alu_engine(arch, {**fields, "alu_width_log2": -1}, None, Span(((1, 8 if mode == "all" else 256),)))
        engine["eltwise_parallel"] = fields["eltwise_parallel"]
        engine["eltwise"] = ("add", "mult") if fields["eltwise_mult"] else ("add",)
    return {
        **_common(arch, fields),
        "batch": fields["batch"],
        "banks": (
            *_images(fields["image_groups"], Bank("VB", arch.pixels, width, images)),
            Bank("CONVW", 16, width, weights),
            Bank("DWCONVW", 1, width, weights),
            Bank("BIAS", 1, 16, 2048),
            Bank("DWCVBIAS", 1, width, 2048),
        ),
        "conv": Window(
            _span(1, 16),
            _span(1, 8),
            _span(1, 8) if isa == 3 else None,
            ("relu", *leaky, *relu6, *(_HARD if leaky else ())),
        ),
        **engine,
        "alu": _ALU if mode == "3D" else _ALU[:-1],
        "argmax": bool(fields.get("argmax", 0)),
    }


def _versal_ml(isa: int, arch: Architecture, fields: Mapping[str, int]) -> dict[str, Any]:
    nonlinear = ("relu", "leaky_relu", "relu_six", *_HARD)
    parallel = fields["alu_cores"] // 2
    engine = Window(_span(1, 256), _span(1, 256), None, nonlinear, parallel, _span(0, 15), _span(0, 255))
    return {
        **_common(arch, fields),
        "batch": fields["batch"],
        "banks": (Bank("VB0", 1, arch.inputs, 65528), Bank("CONVW", 4, arch.inputs // 2, 32768)),
        "conv": Window(_span(1, 16), _span(1, 16), nonlinear=nonlinear),
        "depthwise": engine,
        "max_pool": engine,
        "avg_pool": engine,
        "max_reduce": False,
        "eltwise": ("add", "mult"),
        "eltwise_parallel": None,
        # Softmax stands in the target file of 3.0 alone.
        "alu": ("macc_temp", "comp_temp", "elew_add", "elew_mult", *(("softmax",) if isa == 0 else ())),
        "argmax": bool(fields["argmax"]),
    }


def _alu_engine(
    arch: Architecture, fields: Mapping[str, int], leaky: str | None, stride: Span | None = None
) -> dict[str, Any]:
    """Depthwise convolution and pools of a DPU whose ALU engine does them all, and its eltwise engine."""
    window = Window(
        kernel=_span(1, 256),
        stride=stride or _span(1, 256),
        stride_out_h=_rows(arch, fields["alu_width_log2"]) if fields["alu_width_log2"] >= 0 else None,
        nonlinear=("relu", *((leaky,) if leaky else ()), "relu_six"),
        parallel=fields["alu_parallel"],
        pad_before=_span(0, 15),
        pad_after=_span(0, 255),
    )
    return {
        "depthwise": window,
        "max_pool": window,
        "avg_pool": window,
        "max_reduce": True,
        "eltwise": ("add", "mult"),
        "eltwise_parallel": fields["alu_parallel"],
    }


def _common(arch: Architecture, fields: Mapping[str, int]) -> dict[str, Any]:
    return {
        "input_channel_parallel": arch.inputs,
        "output_channel_parallel": arch.outputs,
        "pixel_parallel": arch.pixels,
        # The first convolution takes twice the channels at once.
        "channel_augmentation": 2 * arch.inputs if fields["channel_augmentation"] else None,
    }


def _label(family: str, isa: int, arch: Architecture, fields: Mapping[str, int]) -> str:
    if family == "DPUCZDX8G":
        return arch.name
    cores = arch.outputs if family == "DPUCVDX8G" else 1 << fields["arch"]
    if family == "DPUCV2DX8G" and isa == 0:
        return f"C{cores}M{fields['alu_cores']}B{fields['batch']}"
    return f"C{cores + fields.get('alu_cores', 0)}B{fields['batch']}"


def _rows(arch: Architecture, log2: int) -> Span:
    """The rows of output that lie apart by as much as the pixels left for each, at most 4."""
    width = 1 << log2
    return _span(1, 4 if width == 1 else min(4, max(1, arch.pixels // width)))


def _images(groups: int, bank: Bank) -> tuple[Bank, ...]:
    return tuple(Bank(f"{bank.name}{i}", bank.banks, bank.width, bank.depth) for i in range(groups))


def _span(low: int, high: int) -> Span:
    return Span(((low, high),))
