"""`sweep`: many models, targets and settings of the quantizer, side by side, with one table at the end."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from dnndk_prep.errors import DnndkPrepError, StageError

if TYPE_CHECKING:
    # `--help` of every command comes through here.
    from dnndk_prep.config import Config
    from dnndk_prep.sweep.cells import Cell
    from dnndk_prep.sweep.settings import SweepFile
    from dnndk_prep.sweep.work import Outcome

NAMED = 5


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add the parser of `sweep`."""
    command = commands.add_parser(
        "sweep",
        help="run many models, targets and quantizer settings",
        description="Run the pipeline for each model, target and quantizer setting of a sweep.yaml, and make a table.",
    )
    command.set_defaults(command=sweep)
    command.add_argument("sweep", nargs="?", type=Path, default=Path("sweep.yaml"), help="the YAML file")
    command.add_argument(
        "--dry-run", action="store_true", help="say what each cell would run, and what it would take over"
    )
    command.add_argument("--workers", type=int, metavar="N", help="cells at once, instead of the YAML's workers")
    command.add_argument(
        "--ray",
        nargs="?",
        const="here",
        metavar="ADDRESS",
        help="run on Ray: on one that is started here, or at this address (auto: the one that runs here)",
    )
    command.add_argument(
        "--allow-custom-code", action="store_true", help="import the modules that model.custom_objects names"
    )
    command.add_argument(
        "--log-format", choices=("text", "json"), help="plain lines, or a JSON object a line; else a terminal has a bar"
    )


def sweep(args: argparse.Namespace) -> int:
    """`sweep`: every cell, as far as it has not run yet. Raises StageError where cells failed."""
    from dnndk_prep.config_file import load_checked
    from dnndk_prep.sweep.cells import cells
    from dnndk_prep.sweep.settings import SweepFile

    if args.workers is not None and args.workers < 1:
        from dnndk_prep.errors import UsageError

        raise UsageError("--workers is at least 1", found=str(args.workers))
    told = load_checked(args.sweep, SweepFile)
    found = cells(told)
    if args.dry_run:
        _show_plan(found, args.allow_custom_code)
        return 0
    _run(args, told, found)
    return 0


def _run(args: argparse.Namespace, told: SweepFile, found: Mapping[Cell, Config]) -> None:
    from dnndk_prep.stopping import ends_on_signals
    from dnndk_prep.sweep import engines, table
    from dnndk_prep.sweep.progress import cells_console, event_of
    from dnndk_prep.sweep.schedule import outcomes
    from dnndk_prep.sweep.sharing import parts
    from dnndk_prep.sweep.work import Limits
    from dnndk_prep.workspace import Workspace
    from dnndk_prep.workspace_lock import require_no_link

    folder = told.folder.absolute()
    limits = Limits(told.threads, told.memory_gib, told.retries, args.allow_custom_code)
    workers = args.workers or told.workers or engines.default_workers(told.threads)
    engine = engines.on_ray(args.ray, workers, limits) if args.ray else engines.local(workers, limits)
    rows = {cell: table.row_of(cell, None, folder) for cell in found}
    ended: dict[Cell, Outcome] = {}

    def last_words() -> str:
        return f"{len(ended)} of {len(found)} cells ended; go on with:\n  {_resume(args)}"

    with ends_on_signals(last_words), Workspace(folder).lock():
        for cell in found:
            for path in (cell.workspace, *list(cell.workspace.relative_to(folder).parents)[:-1]):
                require_no_link(folder / path)
        try:
            with cells_console(sys.stdout, args.log_format, len(found)) as shown, engine as submit:
                for cell, outcome in outcomes(parts(found), submit, getattr(shown, "tick", lambda: None)):
                    ended[cell], rows[cell] = outcome, table.row_of(cell, outcome, folder)
                    shown.tell(event_of(cell, outcome))
                    table.write(list(rows.values()), folder)
        except BaseException:
            table.write(list(rows.values()), folder)
            print(last_words(), file=sys.stderr)
            raise
    print(f"table: {folder / table.HTML}, {folder / table.CSV}")
    _require_all([cell.name for cell, outcome in ended.items() if outcome.status != "done"], len(found), _resume(args))


def _require_all(failed: list[str], total: int, resume: str) -> None:
    if failed:
        more = f" and {len(failed) - NAMED} more" if len(failed) > NAMED else ""
        raise StageError(
            f"{len(failed)} of {total} cells failed",
            expected="every cell done",
            found=", ".join(failed[:NAMED]) + more,
            remedy=f"see the table; the others are done, and this tries what failed again: {resume}",
        )


def _show_plan(found: Mapping[Cell, Config], allow_custom_code: bool) -> None:
    """A line a cell: what would run, and from which cell the rest comes."""
    from dnndk_prep.pipeline import Pipeline
    from dnndk_prep.stage_list import Selection
    from dnndk_prep.sweep.sharing import parts

    width = max(len(cell.name) for cell in found)
    for part in parts(found):
        if part.last is not None:
            continue
        source, taken = part.source, part.taken
        try:
            plan = Pipeline(found[part.cell], allow_custom_code).plan(Selection())
            running = [step.stage.name for step in plan if step.runs]
        except DnndkPrepError as error:
            print(f"{part.cell.name:<{width}}  cannot run: {error.problem}")
            continue
        copied = [name for name in running if name in taken]
        own = [name for name in running if name not in taken]
        words = [f"run {', '.join(own)}"] * bool(own)
        words += [f"take {', '.join(copied)} from {source.name}"] if copied and source else []
        print(f"{part.cell.name:<{width}}  {'; '.join(words) or 'done'}")


def _resume(args: argparse.Namespace) -> str:
    """The command that goes on where this one stopped: what is done does not run again."""
    words = [sys.executable, "-m", "dnndk_prep", "sweep", str(args.sweep)]
    words += ["--workers", str(args.workers)] if args.workers else []
    words += ["--ray", *([args.ray] if args.ray != "here" else [])] if args.ray else []
    words += ["--allow-custom-code"] * args.allow_custom_code
    words += ["--log-format", args.log_format] if args.log_format else []
    return shlex.join(words + ["--verbose"] * args.verbose)
