"""Small networks for the operator check, made by hand without TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dnndk_prep.check import CheckResult, check
from dnndk_prep.check.network import Network, Op
from dnndk_prep.dpu.resolve import resolve_target

Shape = tuple[int | None, ...]
LAYER = "layer"


class Build:
    """Ops in the order in which they are added; every method gives the name of what it added."""

    def __init__(self) -> None:
        self.ops: list[Op] = []
        self.inputs: list[str] = []

    def input(self, *shape: int | None, dtype: str = "float32", name: str | None = None) -> str:
        name = name or f"input{len(self.inputs)}"
        self.inputs.append(name)
        return self._add(Op(name, "Placeholder", (), {"shape": shape}, dtype))

    def image(self, size: int | tuple[int, int] = 32, channels: int = 3, batch: int | None = None) -> str:
        height, width = (size, size) if isinstance(size, int) else size
        return self.input(batch, height, width, channels)

    def const(self, value: Any, dtype: str = "float32", name: str | None = None) -> str:
        data = np.array(value, dtype)
        name = name or f"const{len(self.ops)}"
        return self._add(Op(name, "Const", (), {}, dtype, data.shape, lambda: data))

    def ints(self, *values: Any) -> str:
        return self.const(values[0] if len(values) == 1 else values, "int32")

    def weights(self, *shape: int, name: str | None = None) -> str:
        """A constant of which only the shape is told, as large weights are."""
        return self._add(Op(name or f"weights{len(self.ops)}", "Const", (), {}, "float32", shape))

    def op(self, kind: str, *inputs: str, name: str | None = None, dtype: str = "float32", **attrs: Any) -> str:
        return self._add(Op(name or f"{kind}{len(self.ops)}", kind, inputs, attrs, dtype))

    def conv(
        self,
        x: str,
        kernel: int | tuple[int, int] = 3,
        channels: tuple[int, int] = (3, 8),
        stride: int = 1,
        dilation: int | tuple[int, int] = 1,
        padding: str = "SAME",
        kind: str = "Conv2D",
        name: str | None = None,
        **attrs: Any,
    ) -> str:
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        rates = (dilation, dilation) if isinstance(dilation, int) else dilation
        weights = self.weights(height, width, *channels)
        return self.op(
            kind,
            x,
            weights,
            name=name,
            strides=[1, stride, stride, 1],
            dilations=[1, *rates, 1],
            padding=padding,
            **attrs,
        )

    def biased(self, x: str, **options: Any) -> str:
        """A convolution with bias."""
        conv = self.conv(x, **options)
        return self.op("BiasAdd", conv, self.weights(options.get("channels", (3, 8))[1]))

    def pool(
        self, x: str, kind: str, kernel: Any, stride: Any = 1, padding: str = "VALID", name: str | None = LAYER
    ) -> str:
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        down, across = (stride, stride) if isinstance(stride, int) else stride
        return self.op(kind, x, name=name, ksize=[1, height, width, 1], strides=[1, down, across, 1], padding=padding)

    def network(self, *outputs: str) -> Network:
        return Network(self.ops, self.inputs, outputs or (self.ops[-1].name,))

    def _add(self, op: Op) -> str:
        self.ops.append(op)
        return op.name


Make = Callable[[Build], Any]


def checked(make: Make, target: str = "DPUCZDX8G_ISA1_B4096", family: str = "tf1") -> CheckResult:
    """The check of the network that `make` builds; the last op is the output unless it names others."""
    build = Build()
    named = make(build)
    name, _, release = target.partition("@")
    outputs = named if isinstance(named, tuple) else ()
    return check(build.network(*outputs), resolve_target(name, release or None).dpu, family)
