"""What the quantizer and the compiler do without saying so, each with its name and what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from dnndk_prep.check.findings import graph, layers, values
from dnndk_prep.check.findings.scene import ERROR, INFO, WARNING, Finding, Scene
from dnndk_prep.check.fusion import Group
from dnndk_prep.check.network import Network
from dnndk_prep.dpu.dpus import Dpu

__all__ = ["LOOKS", "Finding", "find"]

Look = Callable[[Scene], Iterator[Finding]]
BOTH: tuple[Look, ...] = (
    graph.quantized,
    graph.channels_first,
    graph.float64,
    graph.input_dtype,
    graph.variables,
    layers.depthwise_multiplier,
    layers.left_batch_norm,
    values.rescaling,
    values.standalone_relu,
    values.leaky_slope,
    layers.shared_layer,
    graph.extra_output,
    layers.idle_channels,
    values.pool_scale,
    values.half_pixels,
)
LOOKS: dict[str, tuple[Look, ...]] = {
    "tf1": (
        graph.leftover_placeholder,
        graph.fixed_batch,
        values.output_on_pool,
        values.relu_ceiling,
        values.mean_after_norm,
        graph.integer_concat,
        graph.same_file,
        layers.bias_before_add,
        layers.bias_name,
        layers.transposed_batch,
        values.leaky_form,
        values.split_pool,
        *BOTH,
    ),
    "tf2": (values.hard_sigmoid, *BOTH),
}


def find(network: Network, groups: Sequence[Group], dpu: Dpu, family: str) -> tuple[Finding, ...]:
    """All findings, the worst first."""
    scene = Scene(network, groups, dpu, family, {name: one for one in groups for name in one.members})
    found = [item for look in LOOKS[family] for item in look(scene)]
    return tuple(sorted(found, key=lambda item: (ERROR, WARNING, INFO).index(item.severity)))
