"""What vai_q_tensorflow2 fails on, though Keras 2.8 has it and no other form of the same numbers is written."""

from __future__ import annotations

from collections.abc import Iterator

from dnndk_prep.keras_io.architecture import Config


def troubles(architecture: Config) -> Iterator[str]:
    """In words, for a functional model: batch norms that the quantizer folds into a depthwise kernel the wrong way.

    Source: vai_q_tensorflow2 of Vitis AI 3.5, which reshapes the scale to one number for each input channel.
    """
    layers = {layer["name"]: layer for layer in architecture["config"]["layers"]}
    for layer in layers.values():
        for node in layer["inbound_nodes"] if layer["class_name"] == "BatchNormalization" else ():
            before = layers[node[0][0]]
            multiplier = before["config"].get("depth_multiplier", 1)
            if before["class_name"] == "DepthwiseConv2D" and multiplier > 1:
                yield (
                    f"vai_q_tensorflow2 cannot fold the batch norm {layer['name']} into {before['name']}, a depthwise "
                    f"convolution of depth_multiplier {multiplier}; the bundle for TensorFlow 1 has it folded"
                )
