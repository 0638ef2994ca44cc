"""The order of a sweep: a part begins when all that it waits for has ended, well or not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait

from dnndk_prep.sweep.cells import Cell
from dnndk_prep.sweep.engines import Submit
from dnndk_prep.sweep.sharing import Part
from dnndk_prep.sweep.work import Outcome

TICK = 0.5


def outcomes(parts: Sequence[Part], submit: Submit, tick: Callable[[], None]) -> Iterator[tuple[Cell, Outcome]]:
    """Run all `parts`; each cell with its outcome as soon as its last part has ended.

    tick is called about twice a second. A worker that is lost for good fails its cell and no other.
    """
    waiting, ended = list(parts), dict[object, Outcome]()
    running: dict[Future[Outcome], Part] = {}
    while waiting or running:
        for part in [part for part in waiting if all(need in ended for need in part.needs)]:
            waiting.remove(part)
            own = [ended[need] for need in part.needs if need[0] == part.cell]
            running[submit(part, own[0] if own else None)] = part
        done, _ = wait(running, timeout=TICK, return_when=FIRST_COMPLETED)
        for future in done:
            part = running.pop(future)
            ended[part.key] = _outcome(future)
            if part.last is None:
                yield part.cell, ended[part.key]
        tick()


def _outcome(future: Future[Outcome]) -> Outcome:
    error = future.exception()
    if error is None:
        return future.result()
    # The cell's own errors are in its outcome: this one is of the engine.
    words = " ".join(str(error).split())[:300]
    return Outcome("failed", code="K2D-0904", problem=f"the worker was lost: {type(error).__name__}: {words}")
