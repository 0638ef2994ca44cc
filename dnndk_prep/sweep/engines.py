"""Where parts of a sweep run: in threads of this process, each waiting for a process of its own, or as tasks of Ray."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from dnndk_prep.errors import UsageError
from dnndk_prep.sweep.sharing import Part
from dnndk_prep.sweep.work import Limits, Outcome, run_part

# Begins a part whose cell ended so far as the outcome says; the future never holds an error of the cell.
Submit = Callable[[Part, Outcome | None], "Future[Outcome]"]
# Instead of an address: the processes of a Ray of our own.
HERE = "here"


def default_workers(threads: int) -> int:
    """As many processes as the cores that this process may use have room for."""
    # Not every system tells a process' own cores.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // threads)


@contextmanager
def local(workers: int, limits: Limits) -> Iterator[Submit]:
    """Up to `workers` processes on this machine; those that run are ended when the block is left."""
    stop = threading.Event()
    with ThreadPoolExecutor(workers) as pool:
        try:
            yield lambda part, before: pool.submit(run_part, part, limits, before, stop)
        finally:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def on_ray(address: str, workers: int, limits: Limits) -> Iterator[Submit]:
    """Tasks of the Ray at `address` (HERE: one that is started here, for `workers` parts at once).

    Ray gives each task its cores and memory, and begins one again whose worker was killed. All nodes have to see the
    sweep's folder and the models under the same paths. Raises UsageError where Ray is not installed or not there.
    """
    ray = _ray()
    options: dict[str, Any] = {"include_dashboard": False, "num_cpus": workers * limits.threads}
    try:
        ray.init(
            **({"address": address} if address != HERE else options),
            log_to_driver=False,
            logging_level="ERROR",
            ignore_reinit_error=True,
        )
    except ConnectionError as error:
        raise UsageError(
            f"there is no Ray at {address!r}",
            expected="the address of a running Ray, or auto",
            found=str(error),
            remedy="start one (ray start --head), or leave the address out",
        ) from error
    memory = {} if limits.memory_gib is None else {"memory": int(limits.memory_gib * 2**30)}
    task = ray.remote(run_part).options(num_cpus=limits.threads, max_retries=limits.retries, **memory)
    references: list[Any] = []

    def submit(part: Part, before: Outcome | None) -> Future[Outcome]:
        references.append(task.remote(part, limits, before))
        return references[-1].future()

    try:
        yield submit
    finally:
        _, running = ray.wait(references, num_returns=len(references), timeout=0) if references else ([], [])
        for reference in running:
            # With the worker goes the pipeline's process, which follows its parent.
            ray.cancel(reference, force=True)
        ray.shutdown()


def _ray() -> Any:
    # Else Ray reports the use of it over the network.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ModuleNotFoundError as error:
        raise UsageError(
            "Ray is not installed",
            expected="the extra `ray` of dnndk_prep",
            found="no module of that name",
            remedy="pip install 'dnndk_prep[ray]', or leave --ray out",
        ) from error
    return ray
