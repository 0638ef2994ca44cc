"""Small bundles for the tests of this folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from tensorflow.core.framework.graph_pb2 import GraphDef

from dnndk_prep.dpu import targets
from dnndk_prep.export import dnndk, vitis_ai
from dnndk_prep.export.bundle import BundleSpec
from dnndk_prep.graph.artifact import GraphArtifact, TensorSpec

WRITERS = {"dnndk": dnndk.write_bundle, "vitis_ai": vitis_ai.write_bundle}

IMAGE = TensorSpec("image", (None, 32, 32, 3), "float32")
PROB = TensorSpec("prob/Softmax", (None, 10), "float32")


def calibration(folder: Path) -> Path:
    """A calib_input folder with two images."""
    (folder / "images").mkdir(parents=True)
    for i in range(2):
        Image.fromarray(np.full((4, 4, 3), i, np.uint8)).save(folder / "images" / f"{i}.png")
    (folder / "calib_list.txt").write_text("0.png\n1.png\n")
    np.savez(folder / "calib.npz", image=np.zeros((2, 4, 4, 3), np.float32))
    (folder / "input_fn.py").write_text("def calib_input(iter):\n    return {'image': [[iter]]}\n")
    return folder


def spec(
    calib_dir: Path,
    board: str,
    toolchain: str,
    *,
    inputs: tuple[TensorSpec, ...] = (IMAGE,),
    outputs: tuple[TensorSpec, ...] = (PROB,),
    net_name: str = "tiny_cnn",
    feed_shapes: dict[str, tuple[int, ...]] | None = None,
) -> BundleSpec:
    found = targets.board(board)
    chain = found.toolchain(toolchain)
    return BundleSpec(
        net_name=net_name,
        graph=GraphArtifact(GraphDef(), inputs, outputs, chain.reader),
        toolchain=chain,
        board=found,
        calib_dir=calib_dir,
        calib_iter=10,
        batch_size=10,
        expected=[np.zeros((10, *spec.shape[1:]), np.float32) for spec in outputs],
        feed_shapes=feed_shapes or {},
    )


def write(folder: Path, one: BundleSpec) -> Path:
    WRITERS[one.toolchain.family](folder, one)
    return folder
