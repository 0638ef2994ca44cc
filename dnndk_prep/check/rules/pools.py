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
    pool, steps = f"pool {height}x{width}", case.numbers.stride
    if case.group.kind not in ("global_pool", "reduce_max") and steps != (height, width):
        if case.group.kind == "avg_pool":
            return _as_depthwise(case, height, width)
        parts = _in_a_row(height, width, limit)
        texts = [f"{down}x{across} with stride 1x1" for down, across in parts[:-1]]
        texts += [f"{down}x{across} with stride {steps[0]}x{steps[1]}" for down, across in parts[-1:]]
        return f"{pool} -> {NUMBERS.get(len(parts), len(parts))} pools: {', then '.join(texts)}"
    down, across = (factors(size, limit) if size > 1 else (1,) for size in (height, width))
    if down is None or across is None:
        return f"{height}x{width} has no factors in {limit}: crop, pad or stride the map before to a size that has"
    pairs = list(zip_longest(down, across, fillvalue=1))
    texts = [f"{a}x{b} with stride {a}x{b}" for a, b in pairs[:-1]] + [f"{a}x{b}" for a, b in pairs[-1:]]
    return f"{pool} -> {NUMBERS.get(len(pairs), len(pairs))} pools: {', then '.join(texts)}"


NUMBERS = {2: "two", 3: "three", 4: "four"}


def _in_a_row(height: int, width: int, limit: Limit) -> list[tuple[int, int]]:
    """Kernels of maxima that, one behind the other with stride 1, see exactly what one of height x width sees."""
    count = next(n for n in range(1, height + width) if max(_parts(height, n)[0], _parts(width, n)[0]) in limit)
    return list(zip(_parts(height, count), _parts(width, count), strict=True))


def _parts(size: int, count: int) -> list[int]:
    """`count` kernels, the largest first, that reach as far as one of `size`: each adds one less than itself."""
    each, more = divmod(size - 1, count)
    return [each + 1 + (n < more) for n in range(count)]


def _as_depthwise(case: Case, height: int, width: int) -> str:
    """Averages over averages that overlap are weighted, so it takes one operator that sees all."""
    engine = case.dpu.depthwise
    fits = engine is not None and all(
        side in engine.kernel and step in engine.stride
        for side, step in zip((height, width), case.numbers.stride, strict=True)
    )
    if fits:
        return f"a depthwise convolution of {height}x{width} in its place, each weight 1/{height * width}"
    return "a smaller kernel, or a stride as large as the kernel: then two pools give the same"


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
