"""What a command costs: seconds of the clock, seconds of the processors and peak memory, with all it starts."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

Words = list[str | Path]
# What Python and C++ say where there is no more.
NO_MEMORY = ("MemoryError", "bad_alloc")


@dataclass(frozen=True)
class Cost:
    """wall and cpu in seconds; peak: the largest resident memory of any one process, in bytes."""

    wall: float
    cpu: float
    peak: int
    # It wanted more memory than it was given.
    killed: bool = False

    def __str__(self) -> str:
        end = " when it ended for want of memory" if self.killed else ""
        return f"{self.wall:6.1f} s, processors {self.cpu:6.1f} s, peak {self.peak / 1e9:.2f} GB{end}"

    def then(self, other: Cost) -> Cost:
        """The cost of both, one after the other."""
        return Cost(
            self.wall + other.wall, self.cpu + other.cpu, max(self.peak, other.peak), self.killed or other.killed
        )


def run(command: Words, environment: Mapping[str, str] | None = None, memory: int | None = None) -> tuple[Cost, str]:
    """Run `command`: its cost, with that of the processes it waited for, and what it printed.

    memory: the bytes of address space that it may have.

    Raises RuntimeError with the end of its messages where it fails for another reason than memory.
    """
    words = [str(word) for word in command]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as said:
        start = time.perf_counter()
        limit = partial(resource.setrlimit, resource.RLIMIT_AS, (memory, memory)) if memory else None
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=out, stderr=said, env=environment, preexec_fn=limit
        )
        # What wait4 tells holds this one process and its descendants; RUSAGE_CHILDREN would add up all before it.
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        said.seek(0)
        messages = said.read()
        killed = process.returncode != 0 and memory is not None and any(word in messages for word in NO_MEMORY)
        if process.returncode and not killed:
            raise RuntimeError(f"{' '.join(words)} ended with {process.returncode}:\n{messages[-2000:]}")
        return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, killed), out.read()


def last_json(text: str) -> Any:
    """What a worker printed in its last line."""
    return json.loads(text.strip().splitlines()[-1])


def middle(values: Sequence[float]) -> float:
    return statistics.median(values)


def spread(values: Sequence[float], digits: int = 1) -> str:
    """The median with the least and the greatest value, `5.2 (5.0-5.9)`; one value stands alone."""
    low, high = min(values), max(values)
    if len(values) == 1:
        return f"{low:.{digits}f}"
    return f"{middle(values):.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def machine() -> dict[str, str]:
    """What the figures depend on, without names and paths."""
    facts = {"processors": str(len(os.sched_getaffinity(0)))}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            facts["processor"] = line.partition(":")[2].strip()
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal"):
            facts["memory"] = f"{int(line.split()[1]) / 2**20:.0f} GiB"
    return facts


def turns(rounds: int) -> str:
    """How often each way was run, as a sentence's beginning."""
    if rounds == 1:
        return "One round"
    return f"{rounds} rounds, in turns: the median, and the least and the greatest figure in brackets"
