"""Ctrl-C and SIGTERM: a run unwinds, and where a library does not let it within seconds, it ends all the same."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

# Seconds for unwinding. What is left after that is what a kill leaves, and the next run mends it.
GRACE = 3.0
SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def ends_on_signals(last_words: Callable[[], str]) -> Iterator[None]:
    """Within the block a signal raises SystemExit(128 + its number), or ends the process after GRACE seconds.

    Whatever else comes out of the block after a signal becomes that SystemExit: TensorFlow turns what is raised in a
    function that it calls, to load a batch, into an error of its own.

    Python calls handlers between its own instructions alone: not while TensorFlow computes a large batch. It writes the
    signal's number into a pipe at once, though, where a thread reads it. `last_words` are told on standard error by
    that thread; in the other case the caller tells them. For the main thread.

    Ctrl-C does not raise KeyboardInterrupt: when that passes through an exec() of a string (every dataclass and
    namedtuple has one), CPython kills itself with SIGINT at its end, whatever exit code was given.
    """
    before = {number: signal.getsignal(number) for number in SIGNALS}
    error_output = os.dup(2)  # A run leads standard error into its log.
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    previous = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    over = threading.Event()
    # A job in the background of a shell ignores Ctrl-C; so does what it starts.
    ours = [number for number in SIGNALS if number != signal.SIGINT or before[number] is signal.default_int_handler]
    watch = threading.Thread(target=_watch, args=(reader, over, ours, last_words, error_output), daemon=True)
    watch.start()
    asked: list[int] = []

    def stop(signum: int, frame: FrameType | None) -> None:
        asked.append(signum)
        # A second one must not disturb the cleaning up; that has its limit anyway.
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        raise SystemExit(128 + signum)

    try:
        for number in ours:
            signal.signal(number, stop)
        yield
    except Exception as error:
        if not asked:
            raise
        raise SystemExit(128 + asked[0]) from error
    finally:
        over.set()
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        signal.set_wakeup_fd(previous)
        os.close(writer)  # The thread reads the end of the pipe.
        watch.join()
        os.close(reader)
        os.close(error_output)


def _watch(
    reader: int, over: threading.Event, ours: Sequence[int], last_words: Callable[[], str], error_output: int
) -> None:
    while numbers := os.read(reader, 64):
        asked = [number for number in numbers if number in ours]
        if asked and not over.wait(GRACE):
            os.write(error_output, f"{last_words()}\n".encode("utf-8", "backslashreplace"))
            os._exit(128 + asked[0])
