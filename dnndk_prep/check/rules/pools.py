"""Pools: by maxima and averages, moving and global."""

from __future__ import annotations

from collections.abc import Callable
from itertools import zip_longest

from dnndk_prep.check.rules.depthwise import alu_padding
from dnndk_prep.check.rules.layers import factors
from dnndk_prep.check.rules.rule import FILTER, KERAS_LIMITS, TARGET_FILE, Broken, Case, Limit, Rule, Value
from dnndk_prep.dpu.dpus import Dpu
from dnndk_prep.dpu.limits import Window

# vai_q_tensorflow 3.5 (simulate_dpu) makes two pools of one whose window covers this much.
SPLIT_AREA = 512
REDUCE_WIDTH, REDUCE_HEIGHT = 100, 2


def _windows(case: Case) -> list[Value]:
    """Kernel height and width: those of both parts where the quantizer splits the pool."""
    height, width = case.numbers.kernel
    # A maximum over the whole map (Max) is no pool to the quantizer.
    splits = case.family == "tf1" and case.group.kind != "reduce_max"
    if splits and height is not None and width is not None and height * width >= SPLIT_AREA:
        return [*split(height), *split(width)]
    return [height, width]


def split(size: int) -> tuple[int, int]:
    """The two factors nearest to the square root, the smaller first."""
    small = next(n for n in range(int(size**0.5), 0, -1) if size % n == 0)
    return small, size // small


def several_pools(case: Case, value: int, limit: Limit) -> str:
    """How the same numbers come from pools in a row, where the kernel has parts in the limit."""
    height, width = case.numbers.kernel
    if height is None or width is None:
        return "give the input a fixed size"
    steps = case.numbers.stride
    overlaps = case.group.kind not in ("global_pool", "reduce_max") and steps != (height, width)
    if overlaps and case.group.kind == "avg_pool":
        return _as_depthwise(case, height, width, limit)
    down, across = ((_in_a_row if overlaps else _in_turn)(size, limit) for size in (height, width))
    if down is None or across is None or height * width == 1:
        return f"{height}x{width} has no parts in {limit}: crop, pad or stride the map before to a size that has"
    *first, last = zip_longest(down, across, fillvalue=1)
    texts = [_with_stride(one, (1, 1) if overlaps else one) for one in first]
    texts.append(_with_stride(last, steps) if overlaps else f"{last[0]}x{last[1]}")
    return f"pool {height}x{width} -> {NUMBERS.get(len(texts), len(texts))} pools: {', then '.join(texts)}"


def _with_stride(kernel: tuple[int, int], steps: tuple[int, int]) -> str:
    return f"{kernel[0]}x{kernel[1]} with stride {steps[0]}x{steps[1]}"


def _in_turn(size: int, limit: Limit) -> tuple[int, ...] | None:
    """Kernels of pools that do not overlap, each on what the one before gives."""
    return factors(size, limit) if size > 1 else (1,)


NUMBERS = {2: "two", 3: "three", 4: "four"}


def _in_a_row(size: int, limit: Limit) -> tuple[int, ...] | None:
    """The fewest and most equal kernels, largest first, that one behind the other see exactly what one of `size` sees.

    With stride 1 each adds one less than itself. None where there are none.
    """
    allowed = [one for one in range(2, size) if one in limit] if size not in limit else [size]
    # Reach beyond 1 -> number of kernels, the largest, and all of them.
    best: dict[int, tuple[int, int, list[int]]] = {0: (0, 1, [])}
    for reach in range(1, size):
        found = [(best[reach - one + 1], one) for one in allowed if reach - one + 1 in best]
        if found:
            best[reach] = min((count + 1, max(top, one), [*parts, one]) for (count, top, parts), one in found)
    return tuple(sorted(best[size - 1][2], reverse=True)) or (1,) if size - 1 in best else None


def _as_depthwise(case: Case, height: int, width: int, limit: Limit) -> str:
    """Averages over averages that overlap are weighted, so it takes one operator that sees all."""
    engine = case.dpu.depthwise
    fits = engine is not None and all(
        side in engine.kernel and step in engine.stride
        for side, step in zip((height, width), case.numbers.stride, strict=True)
    )
    if fits:
        return f"a depthwise convolution of {height}x{width} in its place, each weight 1/{height * width}"
    return f"a kernel of {limit}: nothing on this DPU averages over {height}x{width} in such steps"


def _is_reduced(case: Case) -> bool:
    """A wide, flat maximum runs as max_reduce where no pool takes it."""
    height, width = case.numbers.kernel
    if not case.dpu.max_reduce or height is None or width is None:
        return False
    return 1 <= height <= REDUCE_HEIGHT and 1 <= width <= REDUCE_WIDTH


def _asymmetry(case: Case) -> list[Value]:
    """A global pool of 56x28 and the like: the difference of its sides."""
    height, width = case.numbers.kernel
    return [] if height is None or width is None else [abs(height - width)]


class _Square:
    """Equal sides."""

    def __contains__(self, value: int) -> bool:
        return value == 0

    def __str__(self) -> str:
        return "square"


def _engine(kind: str) -> Callable[[Dpu], Window | None]:
    return lambda dpu: dpu.max_pool if kind in ("max_pool", "reduce_max") else dpu.avg_pool


def pool_rules(kind: str) -> tuple[Rule, ...]:
    """The rules of max_pool, avg_pool, global_pool (an average over the whole map) or reduce_max (its maximum)."""
    engine = _engine(kind)
    by_maxima = kind in ("max_pool", "reduce_max")
    name = "max" if by_maxima else "avg"
    kernel = Rule(
        f"{kind}.kernel",
        ("height and width of the map" if kind in ("global_pool", "reduce_max") else "kernel height, width")
        + (", else at most 2 x 100 by max_reduce" if by_maxima else ""),
        lambda dpu: window.kernel if (window := engine(dpu)) is not None else None,
        _windows,
        several_pools,
        f"{TARGET_FILE} ({name} pool kernel_size); {FILTER}" + ("" if by_maxima else f"; {KERAS_LIMITS}"),
        unless=_is_reduced if by_maxima else lambda case: False,
    )
    square = Rule(
        f"{kind}.square",
        "height against width",
        lambda dpu: _Square() if (window := engine(dpu)) is not None and window.square else None,
        _asymmetry,
        lambda case, value, limit: "crop or pad the map to a square, or pool each direction by a convolution",
        f"{FILTER} (average pools are square where the DPU has a pool engine)",
        show=lambda case, value: "x".join(map(str, case.numbers.kernel)),
    )
    stride = Rule(
        f"{kind}.stride",
        "stride",
        lambda dpu: window.stride if (window := engine(dpu)) is not None else None,
        lambda case: list(case.numbers.stride),
        lambda case, value, limit: f"a stride of {limit}, and a second pool for the rest",
        f"{TARGET_FILE} ({name} pool stride)",
    )
    rules = (kernel,) if by_maxima else (kernel, square)
    if kind in ("global_pool", "reduce_max"):
        return rules
    return (*rules, stride, *alu_padding(kind, "max_pool" if by_maxima else "avg_pool"))


def has_pool(case: Case) -> Broken | None:
    """A DPU may have been built without average pools."""
    kind = case.group.kind
    if _engine(kind)(case.dpu) is not None or (kind in ("max_pool", "reduce_max") and _is_reduced(case)):
        return None
    remedy = (
        "a convolution with stride in its place, or a DPU that is built with this pool"
        if kind != "global_pool"
        else "a depthwise convolution over the whole map, or a DPU that is built with average pools"
    )
    return Broken(f"{kind}.engine", "a pool engine of this kind", "a DPU without", remedy)
