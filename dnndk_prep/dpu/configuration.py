"""A DPU as a DCF describes it, the hardware description that DNNDK and Vitis AI 1.0 to 1.2 compile for."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dnndk_prep.dpu.bits import ARCHITECTURES
from dnndk_prep.dpu.dpus import Dpu
from dnndk_prep.dpu.from_bits import zynqmp_isa0
from dnndk_prep.errors import ModelFileError

# A DCF is a few bytes and this text; the hardware description .hwh of Vivado holds the text, too.
_TEXT = re.compile(rb"Number of DPU Cores:[ !#-~]*")
_ARCHITECTURES = {arch.name: arch for arch in ARCHITECTURES["DPUCZDX8G"]}


@dataclass(frozen=True)
class Configuration:
    """What a DCF says of its DPU; `hp_port_bits` is the width of a data port to the memory."""

    cores: int
    arch: str
    ram_usage: str
    channel_augmentation: bool
    depthwise: bool
    avg_pool: bool
    leaky_relu: bool
    relu6: bool
    softmax_cores: int
    hp_port_bits: int
    target_version: str
    source: str


def parse(data: bytes, source: str) -> Configuration:
    """Read a DCF, or the .hwh that it is made from; `source` names the file.

    Raises ModelFileError for files without the text of a DPU, and for texts without one of its words.
    """
    match = _TEXT.search(data)
    if match is None:
        raise ModelFileError(
            f"{source} describes no DPU",
            expected="a DCF, or a .hwh of Vivado, with the words `Number of DPU Cores:`",
            found="none of them",
            remedy="take the .dcf that dlet wrote, or the .hwh of the design with the DPU in it",
        )
    words = dict(part.partition(":")[::2] for part in match[0].decode("ascii").split(";"))
    relu = _word(words, "ReLU Type", source)
    arch = _word(words, "Arch of DPU", source)
    if arch not in _ARCHITECTURES:
        raise ModelFileError(
            f"{source}: no DPU is a {arch!r}", expected=", ".join(_ARCHITECTURES), found=arch, remedy="check the file"
        )
    return Configuration(
        cores=_whole(words, "Number of DPU Cores", source),
        arch=arch,
        ram_usage=_word(words, "RAM Usage", source).lower(),
        channel_augmentation=_word(words, "Channel Augmentation", source) == "Enabled",
        depthwise=_word(words, "DepthWiseConv", source) == "Enabled",
        avg_pool=_word(words, "AveragePool", source) == "Enabled",
        leaky_relu="LeakyReLU" in relu,
        relu6="ReLU6" in relu,
        softmax_cores=_whole(words, "Number of SFM cores", source),
        hp_port_bits=_whole(words, "M-AXI HP Data Width (DPU)", source),
        target_version=_word(words, "Target Version", source),
        source=source,
    )


def configured(configuration: Configuration) -> Dpu:
    """The DPU of a DCF: its architecture's row, less what the DCF leaves out.

    The engines are those of instruction set 0, from which these DPUs went on to the first fingerprints; a DCF says
    nothing of multiplication in the eltwise engine and of pooling along one side, which count as absent.
    """
    arch = _ARCHITECTURES[configuration.arch]
    facts = zynqmp_isa0(
        arch,
        {
            "pool_parallel": arch.pixels // 2,
            "depthwise_parallel": arch.pixels // 2 if configuration.depthwise else 0,
            "eltwise_parallel": 1,
            "image_groups": 3 if configuration.ram_usage == "high" else 2,
            "channel_augmentation": configuration.channel_augmentation,
            "conv_leaky": configuration.leaky_relu,
            "conv_relu6": configuration.relu6,
            "depthwise_relu6": configuration.relu6,
            "avg_pool": configuration.avg_pool,
            "eltwise_mult": 0,
            "max_reduce": 0,
        },
    )
    return Dpu(
        name=configuration.arch,
        family="DPUCZDX8G",
        isa=0,
        releases=(),
        fingerprint=None,
        source=configuration.source,
        notes=(f"by its DCF, target version {configuration.target_version}, RAM usage {configuration.ram_usage}",),
        **facts,
    )


def _word(words: dict[str, str], key: str, source: str) -> str:
    if key not in words:
        raise ModelFileError(
            f"{source} does not say {key!r}", expected=f"{key}:...", found=", ".join(words), remedy="check the file"
        )
    return words[key].strip()


def _whole(words: dict[str, str], key: str, source: str) -> int:
    text = _word(words, key, source)
    if not re.fullmatch(r"\d{1,6}", text):
        raise ModelFileError(f"{source}: {key} is no number", expected="a number", found=text, remedy="check the file")
    return int(text)
