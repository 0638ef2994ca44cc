"""Models of other precisions: their layers compute in float32, as the DPU's tools take them."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from dnndk_prep.keras_io.architecture import layers_of

SINGLE = "float32"
# What layers of a float16, bfloat16 or float64 model are told; numbers of theirs stand in float32 exactly or as close
# as it gets (float64).
OTHERS = (
    *("float16", "bfloat16", "float64", "mixed_float16", "mixed_bfloat16", "half", "double"),
    *("infer_with_float32_vars",),
)


def in_single_precision(architecture: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The architecture with every layer in float32, and the names of the precisions that it had (none: as it was).

    Whole numbers stay what they are. Policies of quantized layers stay, too: who reads the architecture refuses them.
    """
    result = deepcopy(architecture)
    found: dict[str, None] = {}
    for layer in layers_of(result):
        config = layer.get("config")
        if isinstance(config, dict) and (name := _precision(config.get("dtype"))) in OTHERS:
            found[str(name)] = None
            config["dtype"] = SINGLE
    return (result, tuple(found)) if found else (architecture, ())


def _precision(dtype: Any) -> Any:
    """The name of a dtype or of a policy, as any Keras writes it."""
    if isinstance(dtype, dict):
        return (dtype.get("config") or {}).get("name") if "Quantized" not in str(dtype.get("class_name")) else None
    return dtype
