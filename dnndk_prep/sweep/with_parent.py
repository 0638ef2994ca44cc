"""`python -m dnndk_prep.sweep.with_parent WORDS`: the command line, in a process that dies with its parent."""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys

# Of Linux' prctl: the signal that this process gets when the thread that started it is gone.
PR_SET_PDEATHSIG = 1


def follow_parent() -> None:
    """Die with the parent: what is left behind would hold the workspace against the next try.

    The workspace stays whole, since a stage's folder gets its name when it is complete.
    """
    if not sys.platform.startswith("linux"):
        return
    parent = int(os.environ["DNNDK_PREP_PARENT"])
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        # It died before this process could ask to be told.
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    follow_parent()
    runpy.run_module("dnndk_prep", run_name="__main__", alter_sys=True)
