"""A sweep's file, its cells and their order, what a cell's process may do to it, and the table."""

from __future__ import annotations

import csv
import io
import json
import sys
import threading
import time
from concurrent.futures import Future
from pathlib import Path

import pytest

from dnndk_prep import cli
from dnndk_prep.config_file import load_checked
from dnndk_prep.errors import UsageError
from dnndk_prep.pipeline import Pipeline
from dnndk_prep.sweep import cells, table, work
from dnndk_prep.sweep.cells import Cell
from dnndk_prep.sweep.engines import default_workers
from dnndk_prep.sweep.schedule import outcomes
from dnndk_prep.sweep.settings import SweepFile
from dnndk_prep.sweep.sharing import Part, parts, stage_keys, take
from dnndk_prep.sweep.work import Limits, Outcome, run_part
from dnndk_prep.workspace import Workspace

LIMITS = Limits(threads=1, memory_gib=None, retries=1)
TWO = "models: {a: {}, b: {seed: 7}}\ntargets: {z: {board: zcu104}, k: {board: kv260}}\n"
TWO += "quantize: {v: {}, n: {method: 0}}\n"


def sweep_of(folder: Path, text: str, pipeline: str = "seed: 1\n") -> SweepFile:
    (folder / "pipeline.yaml").write_text(pipeline)
    (folder / "sweep.yaml").write_text(text)
    return load_checked(folder / "sweep.yaml", SweepFile)


def mistakes(folder: Path, text: str) -> str:
    with pytest.raises(UsageError) as caught:
        sweep_of(folder, text)
    return str(caught.value)


def test_every_mistake_has_its_place_and_the_nearest_key(tmp_path: Path):
    told = mistakes(
        tmp_path,
        "models:\n  a: {modle: {path: x}, target: {board: zcu104}}\n  a/b: {}\n"
        "targets:\n  t: {bord: zcu104}\n  u: {board: zcu999}\nquantise: {}\nworkers: two\nretries: -1\n",
    )
    assert "sweep.yaml:2:7: unknown key 'models.a.modle'; did you mean 'models.a.model'?" in told
    assert "sweep.yaml:2:25: unknown key 'models.a.target'" in told
    assert "sweep.yaml:3:3: 'a/b' is no name for a part of a sweep" in told
    assert "sweep.yaml:5:7: unknown key 'targets.t.bord'; did you mean 'targets.t.board'?" in told
    assert "sweep.yaml:6:3: target: there is no board 'zcu999'" in told
    assert "sweep.yaml:7:1: unknown key 'quantise'; did you mean 'quantize'?" in told
    assert "sweep.yaml:8:1: workers" in told
    assert "sweep.yaml:9:1: retries" in told


@pytest.mark.parametrize("name", ["..", ".", "-x", "a b", "a/../b", "$(ls)", "<b>", "é"])
def test_names_are_harmless_folders(tmp_path: Path, name: str):
    assert "is no name" in mistakes(tmp_path, f"models: {{{json.dumps(name)}: {{}}}}\n")


def test_no_entry_is_no_sweep(tmp_path: Path):
    assert "models" in mistakes(tmp_path, "models: {}\n")


def test_cells_stand_over_the_common_pipeline(tmp_path: Path):
    text = "models:\n  a: {model: {path: m/a.h5}, preprocess: {scale: 1.0e-5}}\ntargets: {t: {board: kv260}}\n"
    text += "quantize: {q: {nodes_bit: {conv: 6}}, plain: }\n"
    told = sweep_of(tmp_path, text, "preprocess: {mean: [2.0]}\ntarget: {bundles: false}\nquantize: {method: 0}\n")
    found = cells.cells(told)
    assert [cell.name for cell in found] == ["a/t/q", "a/t/plain"]
    first, second = found.values()
    assert first.model.path == tmp_path / "m" / "a.h5"
    assert (first.preprocess.scale, first.preprocess.mean) == (1e-5, (2.0,))
    assert (first.target.board, first.target.bundles) == ("kv260", False)
    assert (first.quantize.method, first.quantize.nodes_bit, second.quantize.nodes_bit) == (0, {"conv": 6}, {})
    assert first.workspace == tmp_path / "sweep" / "cells" / "a" / "t" / "q"


def test_what_does_not_go_together_is_told_with_its_cells(tmp_path: Path):
    text = "models: {a: {model: {path: a.h5}}}\ntargets: {old: {board: ultra96}, new: {board: zcu104}}\n"
    told = sweep_of(tmp_path, text, "target: {toolchain: vitis-ai-3.5}\n")
    with pytest.raises(UsageError) as caught:
        cells.cells(told)
    assert "a/old/default" in str(caught.value)
    assert "a/new/default" not in str(caught.value)


def test_what_cells_share_is_run_once_and_first(tmp_path: Path):
    found = cells.cells(sweep_of(tmp_path, TWO))
    made = {part.key: part for part in parts(found)}
    by_name = {(cell.name, last): part for (cell, last), part in made.items()}
    assert [last for name, last in by_name if name == "a/z/v"] == ["calib_input", "quantize", None]
    assert [last for name, last in by_name if name == "a/k/v"] == [None]
    other = by_name["a/k/n", None]
    assert other.source is not None
    assert other.source.name == "a/z/n"
    assert "quantize" in other.taken
    assert not {"dpu_check", "export", "report"} & set(other.taken)
    # The other model's data have another seed.
    assert all(part.source is None or part.source.model == part.cell.model for part in made.values())
    before: set[object] = set()
    for part in parts(found):
        assert before.issuperset(part.needs)
        before.add(part.key)
    keys = [stage_keys(cfg) for cfg in found.values()]
    runs = {(name, key) for own in keys for name, key in own.items()}
    assert sum(name == "train_save" for name, _ in runs) == 2
    assert sum(name == "quantize" for name, _ in runs) == 4


def test_two_names_of_the_same_thing_are_one_run(tmp_path: Path):
    found = cells.cells(sweep_of(tmp_path, "models: {a: {}, same: {}}\n"))
    _, last = parts(found)
    assert last.needs == ((next(iter(found)), None),)
    assert "report" in last.taken


class Engine:
    """Runs parts at once, and notes them; what `how` says of a cell is its outcome or its worker's error."""

    def __init__(self, how: dict[str, Outcome | Exception]) -> None:
        self.how, self.begun = how, []

    def __call__(self, part: Part, before: Outcome | None) -> Future[Outcome]:
        self.begun.append((part.cell.name, part.last, before))
        future: Future[Outcome] = Future()
        found = before if before and before.status != "done" else self.how.get(part.cell.name, Outcome("done"))
        if isinstance(found, Exception):
            future.set_exception(found)
        else:
            future.set_result(found)
        return future


def test_a_failing_cell_and_a_lost_worker_stop_no_other(tmp_path: Path):
    made = parts(cells.cells(sweep_of(tmp_path, TWO)))
    engine = Engine({"a/z/v": Outcome("failed", code="K2D-0903"), "b/z/v": RuntimeError("worker\ndied")})
    ended = {cell.name: outcome for cell, outcome in outcomes(made, engine, lambda: None)}
    assert {name for name, outcome in ended.items() if outcome.status == "failed"} == {"a/z/v", "b/z/v"}
    assert len(ended) == 8
    assert sorted((name, str(last)) for name, last, _ in engine.begun) == sorted(
        (part.cell.name, str(part.last)) for part in made
    )
    assert ended["b/z/v"].problem == "the worker was lost: RuntimeError: worker died"


def one_cell(folder: Path) -> Part:
    (cell,) = cells.cells(sweep_of(folder, "quantize: {q: {}}\n"))
    return Part(cell, None)


def as_child(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """The cell's process runs `code`, in which `tries` is how often it was begun before."""
    head = "import json, os, pathlib, signal, sys, time\np = pathlib.Path(sys.argv[1]); p.mkdir(exist_ok=True)\n"
    head += "tries = len(list(p.iterdir())); (p / str(tries)).touch()\n"
    head += "say = lambda **facts: print(json.dumps(facts), flush=True)\n"
    monkeypatch.setattr(
        work,
        "_command",
        lambda part, limits: [sys.executable, "-c", head + code, str(part.cell.workspace.parents[4] / "t")],
    )


ERROR = "say(event='start', stage='quantize'); say(event='error', code='K2D-0021', problem='no <b>', found='x')\n"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("say(event='done', stage='train_save')", Outcome("done", ran=("train_save",))),
        (ERROR + "sys.exit(4)", Outcome("failed", stage="quantize", code="K2D-0021", problem="no <b> (found: x)")),
        ("print('a word'); sys.exit(9)", Outcome("failed", code="K2D-0901", problem="exit code 9: a word")),
        ("tries or os.kill(os.getpid(), 9)", Outcome("done")),
        ("tries or sys.exit(143)", Outcome("done")),
        ("os.kill(os.getpid(), 9)", Outcome("failed", code="K2D-0904", problem="it was killed by SIGKILL, 2 times")),
        ("assert os.environ['TF_NUM_INTRAOP_THREADS'] == '1'", Outcome("done")),
    ],
)
def test_how_a_cell_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, expected: Outcome):
    as_child(monkeypatch, code)
    found = run_part(one_cell(tmp_path), LIMITS)
    assert found.seconds > 0
    assert work.replace(found, seconds=0.0) == expected


def test_a_cell_that_takes_too_much_memory_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    as_child(monkeypatch, "x = bytearray(300 * 2**20); x[::4096] = b'1' * len(x[::4096]); time.sleep(60)")
    found = run_part(one_cell(tmp_path), Limits(1, 0.2, 3))
    assert (found.status, found.problem) == ("failed", "it took more memory than memory_gib: 0.2")
    assert len(list((tmp_path / "t").iterdir())) == 1


def test_a_stopped_cell_ends_within_seconds_whatever_it_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    as_child(monkeypatch, "signal.signal(15, signal.SIG_IGN); time.sleep(60)")
    monkeypatch.setattr(work, "GRACE", 0.2)
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    started = time.monotonic()
    assert run_part(one_cell(tmp_path), LIMITS, None, stop).status == "stopped"
    assert time.monotonic() - started < 5


def test_later_parts_of_a_failed_cell_do_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    as_child(monkeypatch, "")
    failed = Outcome("failed", code="K2D-0903")
    assert run_part(one_cell(tmp_path), LIMITS, failed) is failed
    assert not (tmp_path / "t").exists()


def test_a_bug_is_the_cells_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Pipeline, "plan", lambda pipeline, selection: 1 / 0)
    found = run_part(one_cell(tmp_path), LIMITS)
    assert (found.status, found.code) == ("failed", "K2D-0901")
    assert "ZeroDivisionError" in found.problem


def test_only_whole_stages_are_taken(tmp_path: Path):
    first, second = cells.cells(sweep_of(tmp_path, "models: {a: {}, same: {}}\n"))
    source = Workspace(first.workspace)
    with source.lock():
        for stage in ("train_save", "keras_2_tf"):
            (source.begin(stage) / "artifact").write_text(stage)
            source.commit(stage, {"code": "1"}, {"seconds": 1.0, "facts": {}, "warnings": [], "versions": {}})
    (source.folder("keras_2_tf") / "artifact").write_text("edited")
    pipeline = Pipeline(second.config())
    assert take(pipeline, first.workspace, ("train_save", "keras_2_tf", "freeze_graph")) == ["train_save"]
    assert (second.workspace / "train_save" / "stage.json").read_text() == (
        first.workspace / "train_save" / "stage.json"
    ).read_text()
    assert not (second.workspace / "keras_2_tf").exists()


def rows(folder: Path) -> list[table.Row]:
    cell = Cell("a", "t", "q", folder / "p.yaml", (), folder / "cells" / "a" / "t" / "q")
    (cell.workspace / "report").mkdir(parents=True)
    told = {
        "verdict": {"state": "look"},
        "accuracy": {
            "float": {"top1": 0.5, "mean_iou": None, "images": 4},
            "vendor": {"top1": 0.25, "mean_iou": None, "images": 4},
            "best": {"top1": 0.75, "mean_iou": None, "images": 4},
        },
        "placement": [],
        "stages": [{"seconds": 1.25}],
    }
    (cell.workspace / "report" / "report.json").write_text(json.dumps(told))
    failed = Outcome(
        "failed", 1.0, stage="keras_2_tf", code="K2D-0903", problem="=1+1 <script>alert(1)</script> \n\u202e"
    )
    return [
        table.row_of(cell, Outcome("done", 2.0), folder),
        table.row_of(cell, failed, folder),
        table.row_of(cell, None, folder),
        table.row_of(cell, Outcome("stopped"), folder),
    ]


def test_the_table(tmp_path: Path):
    told = rows(tmp_path)
    assert (told[0].accuracy_float, told[0].accuracy_int8, told[0].seconds) == (0.5, 0.75, 1.2)
    assert [row.status for row in told] == ["done", "failed", "not run", "not run"]
    table.write(told, tmp_path)
    done, failed, *_ = csv.DictReader(io.StringIO((tmp_path / "sweep.csv").read_text()))
    assert (tmp_path / done["report"]).name == "report.html"
    assert failed["error"].startswith("'=1+1")
    page = (tmp_path / "sweep.html").read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert 'href="cells/a/t/q/report/report.html"' in page
    assert "+25.00" in page
    assert page.count("<script>") == 1
    assert "http-equiv" in page
    assert not list(tmp_path.glob(".sweep*"))


def test_what_would_run_and_words_that_mean_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    sweep_of(
        tmp_path, "models: {a: {}, gone: {model: {path: x.h5}}}\ntargets: {z: {board: zcu104}, k: {board: kv260}}\n"
    )
    assert cli.main(["sweep", str(tmp_path / "sweep.yaml"), "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split(maxsplit=1)[1].startswith("run train_save, keras_2_tf")
    assert lines[1].split(maxsplit=1)[1].startswith("run dpu_check, export, report; take train_save, ")
    assert lines[2].split(maxsplit=1)[1] == "cannot run: model.path: there is no such file or folder"
    assert not (tmp_path / "sweep").exists()
    assert cli.main(["sweep", str(tmp_path / "sweep.yaml"), "--workers", "0"]) == 2
    assert cli.main(["sweep", str(tmp_path / "none.yaml")]) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pipeline.yaml", "sweep.yaml"]


def test_a_second_sweep_of_the_same_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    told = sweep_of(tmp_path, "targets: {z: {board: zcu104}}\n")
    with Workspace(told.folder).lock():
        assert cli.main(["sweep", str(tmp_path / "sweep.yaml")]) == 2
    assert "another run holds this workspace" in capsys.readouterr().err
    assert not (tmp_path / "sweep" / "sweep.csv").exists()


def test_a_machine_has_room_for_one_cell_at_least():
    assert default_workers(1) >= default_workers(2) >= default_workers(10**6) == 1
