"""Computes a quantized graph as the DPU's tools do: each FixNeuron rounds to its grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from dnndk_prep.graph.fix_neurons import FIX_NEURON
from dnndk_prep.quant import pow2
from dnndk_prep.quant.fixed import ends_of
from dnndk_prep.quant.hooked import Hook, HookedGraph
from dnndk_prep.quant.network import Node, by_name, const


class Simulation(HookedGraph):
    """A session over nodes with positions; `outputs` gives the outputs after their FixNeurons for one batch."""

    def __init__(self, nodes: Sequence[Node], outputs: Sequence[str]) -> None:
        self._ends = ends_of(nodes, outputs)
        rounding, hooks = rounded(nodes)
        super().__init__(rounding, hooks, self._ends)

    def outputs(self, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """The outputs in their order, for arrays by the names of the inputs."""
        return self.run(feeds, self._ends)


def rounded(nodes: Sequence[Node]) -> tuple[list[Node], dict[str, Hook]]:
    """The nodes with rounded constants in place of FixNeurons behind constants, and what computes the others."""
    named = by_name(nodes)
    result: list[Node] = []
    hooks: dict[str, Hook] = {}
    for item in nodes:
        if item.op == FIX_NEURON:
            value = named[item.inputs[0]].value
            if value is not None:
                item = const(item.name, grid(item, value))
            else:
                hooks[item.name] = partial(grid, item)
        result.append(item)
    return result, hooks


def grid(fix: Node, x: np.ndarray) -> np.ndarray:
    """x as the FixNeuron lets it through."""
    bits, position, mode = (fix.attrs[key].i for key in ("bit_width", "quantize_pos", "mode"))
    return pow2.quantize(x, bits, position, mode)
