"""Writes the Vitis AI bundle for TensorFlow 2: vai_q_tensorflow2 quantizes, vai_c_tensorflow2 compiles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from dnndk_prep.export import bundle
from dnndk_prep.export.bundle import BundleSpec
from dnndk_prep.export.vitis_ai import arch_values, write_arch
from dnndk_prep.export.vitis_ai_tf2.float_h5 import FloatModel
from dnndk_prep.export.vitis_ai_tf2.releases import ENVIRONMENT, FAMILY, RELEASES

FLOAT_MODEL = "float_model.h5"


def write_bundle(folder: Path, spec: BundleSpec, model: FloatModel, batch: Mapping[str, np.ndarray]) -> None:
    """Write float_model.h5, `quantize.py`, `compile.sh`, `arch.json`, `check.py`, README.md and the calibration data.

    `folder` is made. `spec` is that of the bundle for TensorFlow 1 of the same release, `batch` the first calibration
    batch; the model's inputs are in the order of the graph's.
    """
    inputs, outputs = model.interface()
    spec = replace(spec, expected=model.predict([batch[name] for name in spec.graph.input_names]))
    release = RELEASES[spec.toolchain.name]
    values = {
        **arch_values(spec),
        "release": release,
        "image": release.image or spec.toolchain.image,
        "image_note": release.image_note or (spec.toolchain.image_note if release.image is None else None),
        "environment": ENVIRONMENT,
        "inputs": inputs,
        "outputs": outputs,
        # What input_fn.py calls each input.
        "fed": spec.graph.inputs,
    }
    folder.mkdir(parents=True)
    model.write(folder / FLOAT_MODEL)
    bundle.write_files(folder, spec, FAMILY, FLOAT_MODEL, ("quantize.py", "compile.sh"), values)
    write_arch(folder, spec)
