"""The battery: small models, a pattern each, that freeze and run in the old TensorFlows."""

from __future__ import annotations

from battery.convolutions import CONVOLUTIONS, NORMS, POOLS, RESIZES
from battery.others import ACTIVATIONS, ATTENTION, DENSE, MODELS, OPERATIONS, RECURRENT

GROUPS = {
    "Convolutions": CONVOLUTIONS,
    "Pooling, padding, cropping": POOLS,
    "Resizing": RESIZES,
    "Batch norms": NORMS,
    "Activations": ACTIVATIONS,
    "Dense layers, shapes, numbers": DENSE,
    "Models": MODELS,
    "Recurrent layers": RECURRENT,
    "Attention and norms": ATTENTION,
    "Operations between layers": OPERATIONS,
}
PATTERNS = tuple(pattern for patterns in GROUPS.values() for pattern in patterns)
