"""What the scripts of the older flows share: their flags run the library, no flags run a stage of pipeline.yaml."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from dnndk_prep import cli
from dnndk_prep.errors import DnndkPrepError, StageError
from dnndk_prep.quiet import quiet_start

# The oldest TensorFlow in the DPU tools (DNNDK 3.0); every later one reads it, too.
OLDEST_READER = "1.9"


def stage_script(name: str, parser: argparse.ArgumentParser, work: Callable[[argparse.Namespace], None]) -> int:
    """With flags `work` does what the ancestor did; without any, the stage `name` of ./pipeline.yaml runs."""
    if len(sys.argv) == 1:
        return cli.main(["run", "pipeline.yaml", "--only", name])
    return guarded(parser, work)


def guarded(
    parser: argparse.ArgumentParser, work: Callable[[argparse.Namespace], None], argv: Sequence[str] | None = None
) -> int:
    """Parse the flags and do the work; an error of the user's is a message and an exit code, not a traceback."""
    args = parser.parse_args(argv)
    try:
        with quiet_start():
            import tensorflow  # noqa: F401
        work(args)
    except DnndkPrepError as error:
        print(error.for_terminal(), file=sys.stderr)
        return error.exit_code
    except OSError as error:
        told = StageError(f"{error.filename}: {error.strerror}", code="K2D-0031")
        print(told.for_terminal(), file=sys.stderr)
        return told.exit_code
    except KeyboardInterrupt:
        return cli.INTERRUPTED
    return 0


def flag(text: str) -> bool:
    """`true` or `false`, as TensorFlow's own tools take it."""
    if text.lower() not in ("true", "false", "1", "0", "t", "f", "yes", "no", "y", "n"):
        raise argparse.ArgumentTypeError(f"expected true or false, found {text!r}")
    return text.lower() in ("true", "1", "t", "yes", "y")


def names(text: str) -> list[str]:
    """Node names between commas; `conv/Relu:0` is the node `conv/Relu`."""
    return [name.strip().removesuffix(":0") for name in text.split(",") if name.strip()]
