"""The bundle for the quantizer of TensorFlow 2, which `export` writes where the model has a form for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dnndk_prep.errors import DnndkPrepError
from dnndk_prep.export.bundle import BundleSpec
from dnndk_prep.export.vitis_ai_tf2 import FAMILY, FloatModel, write_bundle
from dnndk_prep.export.vitis_ai_tf2.troubles import troubles
from dnndk_prep.stages._model import custom_objects, read_source
from dnndk_prep.stages._other_exports import layer_names
from dnndk_prep.stages._proof import REFERENCE, Reference
from dnndk_prep.stages.context import StageContext


def write(ctx: StageContext, spec: BundleSpec, batch: Mapping[str, np.ndarray]) -> tuple[dict[str, Any], str]:
    """Write vitis_ai_tf2/ beside the bundle of `spec`, and give its facts and what its quantizer will fail on.

    Where it is left out there are no facts, and the reason instead; none where no Keras model came in,
    but a graph: nobody expects the bundle then.
    """
    folder, proven = ctx.inputs.get("train_save"), ctx.inputs.get("keras_2_tf")
    if folder is None or proven is None or not (proven / REFERENCE).is_file():
        ctx.say(f"export: no {FAMILY}/, whose quantizer takes a Keras model")
        return {}, ""
    try:
        source, _ = read_source(folder, ctx.cfg.keras_2_tf.source, custom_objects(ctx.cfg))
        model = FloatModel.of(source, layer_names(ctx)["inputs"])
        reference = Reference.load(proven)
        probe = [reference.probe[name] for name in spec.graph.input_names]
        difference = model.proven(probe, reference.outputs)
    except DnndkPrepError as error:
        # The bundle for TensorFlow 1 stands by itself.
        reason = f"{error.problem}: {error.found}" if error.found else error.problem
        return {}, f"{FAMILY}/ is left out: {reason}"
    write_bundle(ctx.out / FAMILY, spec, model, batch)
    ctx.say(f"export: {FAMILY}/ for {spec.board.title} with {spec.toolchain.release}")
    return {"fed": "probe, through float_model.h5", **difference}, "; ".join(troubles(model.architecture))
