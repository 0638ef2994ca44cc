"""What each bit of a fingerprint means, as tables: fields of each instruction set, architectures, words for numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

# The name under which the bits stand that no source documents.
UNDOCUMENTED = "undocumented"


@dataclass(frozen=True)
class Field:
    """`width` bits from bit `low` on."""

    name: str
    low: int
    width: int = 1

    @property
    def mask(self) -> int:
        """The largest number that the field holds."""
        return (1 << self.width) - 1

    @property
    def bits(self) -> str:
        """Its bits in words, `11-8` or `30`."""
        return str(self.low) if self.width == 1 else f"{self.low + self.width - 1}-{self.low}"


@dataclass(frozen=True)
class Architecture:
    """A convolution engine: pixels, input and output channels that it takes at once."""

    pixels: int
    inputs: int
    outputs: int

    @property
    def name(self) -> str:
        """Named after its operations a cycle, `B4096`."""
        return f"B{2 * self.pixels * self.inputs * self.outputs}"


_LOAD = (Field("channel_augmentation", 26), Field("load_mean", 27))

# (family, instruction set): the fields. Sources, all of Xilinx/Vitis-AI 3.5, src/vai_runtime/target_factory/src.
LAYOUTS: Mapping[tuple[str, int], tuple[Field, ...]] = {
    # create_target_v2.cpp
    ("DPUCZDX8G", 0): (
        Field("arch", 0, 4),
        Field("pool_parallel", 8, 4),
        Field("depthwise_parallel", 12, 4),
        Field("eltwise_parallel", 16, 4),
        Field("image_groups", 24, 2),
        *_LOAD,
        Field("conv_leaky", 28),
        Field("conv_relu6", 29),
        Field("avg_pool", 30),
        Field("depthwise_relu6", 31),
        Field("eltwise_mult", 36),
        Field("max_reduce", 37),
    ),
    # create_target_DPUCZDX8G_ISA1.cpp; argmax from the target files of 2.5 and 3.0, which differ in this bit.
    ("DPUCZDX8G", 1): (
        Field("arch", 0, 4),
        Field("alu_parallel", 8, 4),
        Field("image_groups", 24, 2),
        *_LOAD,
        Field("conv_leaky", 28),
        Field("depthwise_leaky", 29),
        Field("argmax", 30),
        Field("conv_width_log2", 32, 2),
        Field("alu_width_log2", 34, 2),
    ),
    # create_target_DPUCVDX8G_ISA2.cpp
    ("DPUCVDX8G", 2): (
        Field("arch", 0, 4),
        Field("batch", 4, 4),
        Field("alu_mode", 8, 4),
        Field("alu_parallel", 12, 4),
        Field("eltwise_parallel", 16, 4),
        Field("image_groups", 24, 2),
        *_LOAD,
        Field("conv_leaky", 28),
        Field("conv_relu6", 29),
        Field("bank_depths", 32, 4),
        Field("eltwise_mult", 36),
    ),
    # create_target_DPUCVDX8G_ISA3.cpp
    ("DPUCVDX8G", 3): (
        Field("arch", 0, 4),
        Field("batch", 4, 4),
        Field("alu_parallel", 8, 4),
        Field("bank_depths", 12, 4),
        Field("image_groups", 24, 2),
        *_LOAD,
        Field("conv_leaky", 28),
        Field("depthwise_leaky", 29),
        Field("argmax", 30),
        Field("conv_width_log2", 32, 2),
        Field("alu_width_log2", 34, 2),
    ),
    # Derived from C16M4B1, the one DPU of this kind: 16 engines convolve (1 << 4), 4 are the ALU, batch 1.
    # create_target_DPUCV2DX8G_ISA0.cpp reads the last two the other way round, against the 3.0 target file.
    ("DPUCV2DX8G", 0): (
        Field("arch", 0, 4),
        Field("batch", 4, 4),
        Field("alu_cores", 8, 4),
        *_LOAD,
        Field("argmax", 30),
    ),
    # create_target_DPUCV2DX8G_ISA1.cpp
    ("DPUCV2DX8G", 1): (
        Field("arch", 0, 4),
        Field("alu_cores", 4, 4),
        Field("batch", 8, 8),
        *_LOAD,
        Field("argmax", 30),
    ),
}

# The number in `arch`, of the same files. Index 11 came with instruction set 1.
ARCHITECTURES: Mapping[str, tuple[Architecture, ...]] = {
    "DPUCZDX8G": tuple(
        Architecture(pixels, channels, channels)
        for pixels, channels in (
            (4, 8),
            (4, 10),
            (8, 8),
            (4, 12),
            (8, 10),
            (8, 12),
            (8, 14),
            (8, 16),
            (4, 4),
            (2, 6),
            (2, 8),
            (2, 4),
        )
    ),
    "DPUCVDX8G": tuple(Architecture(8, 16, outputs) for outputs in (16, 32, 64)),
    "DPUCV2DX8G": (
        Architecture(1, 16, 16),
        Architecture(1, 16, 32),
        Architecture(1, 32, 32),
        Architecture(2, 32, 32),
        Architecture(4, 32, 32),
    ),
}

# DPUCVDX8G: `bank_depths` gives the depth of feature-map and weight banks.
BANK_DEPTHS: tuple[tuple[int, int], ...] = tuple(
    (1 << image, 1 << weights)
    for image, weights in ((13, 14), (13, 13), (12, 13), (13, 12), (12, 12), (14, 14), (14, 13))
)
ALU_MODES = ("none", "all", "3D")


def _flag(value: int) -> str:
    return "on" if value else "off"


def _pixels(value: int) -> str:
    return "none" if not value else "1 pixel a cycle" if value == 1 else f"{value} pixels a cycle"


def _power(value: int) -> str:
    return f"{1 << value} of a row at once"


def _depths(value: int) -> str:
    if value >= len(BANK_DEPTHS):
        return "no source knows this number"
    image, weights = BANK_DEPTHS[value]
    return f"feature maps {image} deep, weights {weights} deep"


_WORDS: Mapping[str, Callable[[int], str]] = {
    "pool_parallel": _pixels,
    "depthwise_parallel": lambda value: _pixels(value) if value else "no depthwise convolution",
    "eltwise_parallel": _pixels,
    "alu_parallel": _pixels,
    "alu_mode": lambda value: ALU_MODES[value] if value < len(ALU_MODES) else "no source knows this number",
    "alu_cores": lambda value: f"{value} AI engines for the ALU",
    "batch": lambda value: "1 image at once" if value == 1 else f"{value} images at once",
    "image_groups": lambda value: f"{value} groups of feature-map banks" + _ram(value),
    "bank_depths": _depths,
    "conv_width_log2": _power,
    "alu_width_log2": _power,
}


def _ram(groups: int) -> str:
    return {2: " (RAM usage low)", 3: " (RAM usage high)"}.get(groups, "")


def meaning(family: str, field: str, value: int) -> str:
    """The words for one field's number."""
    if field == "arch":
        known = ARCHITECTURES[family]
        if value >= len(known):
            return "no source knows this number"
        found = known[value]
        return f"{found.name}: {found.pixels} pixels x {found.inputs} in x {found.outputs} out"
    return _WORDS.get(field, _flag)(value)
