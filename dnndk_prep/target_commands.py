"""The command `targets`: boards and DPUs with their limits, fingerprints bit by bit, and what a board reports."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from dnndk_prep.errors import TargetError, UsageError

_EPILOG = """\
  dnndk-prep targets                                    every board
  dnndk-prep targets --all                              every DPU of the Vitis AI releases
  dnndk-prep targets zcu104 --toolchain vitis-ai-2.5    one board with one release
  dnndk-prep targets 0x101000016010407                  a fingerprint, bit by bit
  dnndk-prep targets 0x101000016010407 zcu104           two targets, compared bit by bit
  dnndk-prep targets --xdputil query.txt zcu104         what the board reports against what is compiled

A target is a board, a DPU's name, a fingerprint, or the path of an arch.json, a .dcf or a .hwh.
Exit code 7: the board does not load what the toolchain compiles (--xdputil).
"""


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add the parser of `targets`."""
    command = commands.add_parser(
        "targets",
        help="boards, DPUs and fingerprints",
        description="Boards and DPUs: limits, fingerprints, arch.json, and what a board reports.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(command=targets)
    command.add_argument("targets", nargs="*", metavar="TARGET", help="none: all boards; one: its facts; two: compared")
    command.add_argument("--toolchain", metavar="RELEASE", help="dnndk-3.0 ... vitis-ai-3.5; the newest unless given")
    command.add_argument("--xdputil", type=Path, metavar="FILE", help="the output of `xdputil query` on the board")
    command.add_argument("--all", action="store_true", help="list the DPUs of the Vitis AI releases")
    command.add_argument("--json", action="store_true", help="as JSON, for programs")


def targets(args: argparse.Namespace) -> int:
    """`targets`: print what is known of boards, DPUs and fingerprints."""
    # Imported here: the tables need not be read for other commands.
    from dnndk_prep.dpu import target_facts, target_text

    words = args.targets
    if len(words) > (1 if args.xdputil or args.all else 2) or (args.all and words):
        raise UsageError(
            "too many targets",
            expected="none, one, or two to compare; --xdputil takes one, --all none",
            found=" ".join(words),
            remedy="see `dnndk-prep targets --help`",
        )
    facts: Any
    if args.xdputil:
        facts = target_facts.compared_with_board(args.xdputil, words[0] if words else None, args.toolchain)
        _print(facts, target_text.board_report(facts), args.json)
        return TargetError.exit_code if facts["matches"] is False else 0
    if args.all:
        facts = target_facts.every_dpu(args.toolchain)
        _print(facts, target_text.dpus(facts), args.json)
    elif not words:
        facts = target_facts.every_board(args.toolchain)
        _print(facts, target_text.boards(facts), args.json)
    elif len(words) == 1:
        facts = target_facts.one(words[0], args.toolchain)
        _print(facts, target_text.one(facts), args.json)
    else:
        facts = target_facts.compared(words[0], words[1], args.toolchain)
        _print(facts, target_text.compared(facts), args.json)
    return 0


def _print(facts: Any, text: str, as_json: bool) -> None:
    print(json.dumps(facts, indent=2) if as_json else text)
