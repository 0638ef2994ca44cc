"""Pools: by maxima and averages, moving and global."""

from __future__ import annotations

from collections.abc import Callable

from dnndk_prep.check.rules.depthwise import alu_padding
from dnndk_prep.check.rules.rule import FILTER, KERAS_LIMITS, TARGET_FILE, Broken, Case, Limit, Rule, Value
from dnndk_prep.dpu.dpus import Dpu
from dnndk_prep.dpu.limits import Window

# vai_q_tensorflow 3.5 (simulate_dpu) makes two pools of one whose window covers this much.
SPLIT_AREA = 512
REDUCE_WIDTH, REDUCE_HEIGHT = 100, 2


def _windows(case: Case) -> list[Value]:
    """Kernel height and width: those of both parts where the quantizer splits the pool."""
    height, width = case.numbers.kernel
    if case.family == "tf1" and height is not None and width is not None and height * width >= SPLIT_AREA:
        return [*split(height), *split(width)]
    return [height, width]


def split(size: int) -> tuple[int, int]:
    """The two factors nearest to the square root, the smaller first."""
    small = next(n for n in range(int(size**0.5), 0, -1) if size % n == 0)
    return small, size // small


def two_pools(case: Case, value: int, limit: Limit) -> str:
    """How the same numbers come from two pools in a row, where the kernel has factors in the limit."""
    height, width = case.numbers.kernel
    if height is None or width is None:
        return "give the input a fixed size"
    down, across = _factors(height, limit), _factors(width, limit)
    if down is not None and across is not None:
        (a, c), (b, d) = down, across
        return f"pool {height}x{width} -> two pools: {a}x{b} with stride {a}x{b}, then {c}x{d}"
    return f"{height}x{width} has no factors in {limit}: crop, pad or stride the map before to a size that has"


def _factors(size: int, limit: Limit) -> tuple[int, int] | None:
    if size in limit or size == 1:
        return size, 1
    pairs = [(n, size // n) for n in range(2, size) if size % n == 0 and n in limit and size // n in limit]
    return min(pairs, key=lambda pair: abs(pair[0] - pair[1]), default=None)


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
        two_pools,
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
