"""Which Vitis AI releases have a quantizer for TensorFlow 2, and what it is called with there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

ENVIRONMENT = "vitis-ai-tensorflow2"
FAMILY = "vitis_ai_tf2"


@dataclass(frozen=True)
class Tf2Release:
    """The TensorFlow of the release's vai_q_tensorflow2, and how that is called.

    image: the container, where it is not that of the release's TensorFlow 1. has_batch_size: whether quantize_model
    takes calib_batch_size; without it the quantizer calibrates on 50 examples at a time, whatever it is given.
    """

    tensorflow: str
    image: str | None = None
    image_note: str | None = None
    has_batch_size: bool = True


# Sources: requirements.txt and README of vai_q_tensorflow2.x and the conda files of each release (TensorFlow);
# vitis_quantize.py of each release (arguments); the pages "Docker Images" of 3.0 and "Installation" of 3.5 (images).
RELEASES: Mapping[str, Tf2Release] = {
    "vitis-ai-1.3": Tf2Release("2.3", has_batch_size=False),
    "vitis-ai-1.4": Tf2Release("2.3"),
    "vitis-ai-2.0": Tf2Release("2.6"),
    "vitis-ai-2.5": Tf2Release("2.8"),
    "vitis-ai-3.0": Tf2Release(
        "2.10",
        "xilinx/vitis-ai-tensorflow2-cpu:ubuntu2004-3.0.0.106",
        "the tag is that of the 3.0 PyTorch image; if the registry has none of this name, build the image with "
        "docker/docker_build.sh -t cpu -f tf2 from the vendor's 3.0 sources",
    ),
    "vitis-ai-3.5": Tf2Release("2.12", "xilinx/vitis-ai-tensorflow2-cpu:latest"),
}
