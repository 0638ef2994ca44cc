"""The shape of every value of a network, as TensorFlow infers them; the batch may stay free."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from dnndk_prep.check.shapes.computed import COMPUTED
from dnndk_prep.check.shapes.inference import Inference, Shapes
from dnndk_prep.check.shapes.known import NUMBERS
from dnndk_prep.check.shapes.moved import MOVED

if TYPE_CHECKING:
    from dnndk_prep.check.network import Network, Shape


def infer(network: Network, given: Mapping[str, Shape]) -> dict[str, Shapes]:
    """The shapes of each op's outputs in order; None where they are not known: an op without a rule here, above all."""
    found = Inference(network, given, {**COMPUTED, **MOVED}, NUMBERS)
    for op in network.ops.values():
        found.shapes[op.name] = found.of(op)
    return found.shapes
