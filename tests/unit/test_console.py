"""What a run shows while it goes, and what its log file keeps."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_pipeline import Home, home

from dnndk_prep import cli, run_log
from dnndk_prep.console import Console, JsonLines, Pace, Terminal, console
from dnndk_prep.errors import StageError
from dnndk_prep.events import Event

__all__ = ["home"]
ROOT = Path(__file__).parents[2]


def run(home: Home, *words: str, code: int = 0) -> None:
    assert cli.main(["run", str(home.yaml), *words]) == code


def logs(home: Home) -> list[str]:
    return [path.read_text() for path in sorted((home.folder / "workspace" / "logs").glob("*.log"))]


def test_plain_lines_where_there_is_no_terminal(home: Home, capsys: pytest.CaptureFixture[str]):
    run(home)
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"log: .*/workspace/logs/\d{8}-\d{6}-\d+\.log", lines[0])
    assert lines[1] == "first: it has not run yet"
    assert re.fullmatch(r"first: done in \d+\.\d s", lines[2])
    assert lines[-1] == f"workspace: {home.folder / 'workspace'}"
    run(home)
    assert "second: nothing changed" in capsys.readouterr().out


def test_json_lines(home: Home, capsys: pytest.CaptureFixture[str]):
    run(home, "--log-format", "json", "--to", "second")
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["event"], one.get("stage")) for one in told] == [
        ("begin", None), ("start", "first"), ("done", "first"), ("start", "second"), ("done", "second"), ("end", None)
    ]  # fmt: skip
    assert told[2]["seconds"] >= 0
    assert all(re.match(r"\d{4}-\d\d-\d\dT", one["time"]) for one in told)
    home.fail = ("third", StageError("no room", found="none", code="K2D-0021"))
    run(home, "--log-format", "json", code=4)
    said = capsys.readouterr()
    error = json.loads(said.out.splitlines()[-1])
    assert {**error, "time": ""} == {
        "time": "", "event": "error", "code": "K2D-0021", "exit_code": 4, "problem": "no room", "found": "none"
    }  # fmt: skip
    assert "--log-format json" in said.err.split("go on with:")[1]


def test_a_bug_is_an_error_line_too(home: Home, capsys: pytest.CaptureFixture[str]):
    home.fail = ("first", ZeroDivisionError("x"))
    run(home, "--log-format", "json", code=1)
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["code"] == "K2D-0901"


def test_the_log_keeps_lines_tracebacks_and_noise(home: Home, capsys: pytest.CaptureFixture[str]):
    plain = home._stage

    def noisy(name: str, ctx) -> dict:
        os.write(2, b"E0000 noise of a library\n")
        print("python noise", file=sys.__stderr__)
        ctx.say(f"{name}: at work")
        return plain(name, ctx)

    home._stage = noisy
    home.fail = ("second", StageError("the stage's own words"))
    run(home, code=4)
    (log,) = logs(home)
    assert "tensorflow" in log.splitlines()[1]
    assert re.search(r"^\d\d:\d\d:\d\d first: at work$", log, re.M)
    assert log.count("E0000 noise of a library") == 2
    assert "Traceback (most recent call last)" in log
    assert "the stage's own words" in log
    said = capsys.readouterr()
    assert "first: at work" in said.out
    assert "Traceback" not in said.err
    assert re.search(r"^log: .*\.log$", said.err, re.M)


def test_noise_is_for_the_log_unless_it_is_asked_for(tmp_path: Path):
    (tmp_path / "p.yaml").write_text("")
    code = (
        "import os, sys\nfrom dnndk_prep import cli, stage_list\n"
        "def work(ctx):\n    os.write(2, b'noise ' + os.environ['TF_CPP_MIN_LOG_LEVEL'].encode() + b'\\n'); return {}\n"
        "stage_list.Stage.run = lambda stage: work\n"
        "sys.exit(cli.main(['run', 'p.yaml', '--only', 'train_save', *sys.argv[1:]]))\n"
    )
    for words, noise in (([], ""), (["--verbose", "--force"], "noise 0\n")):
        done = subprocess.run([sys.executable, "-c", code, *words], cwd=tmp_path, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, noise)
    logs = [path.read_text() for path in sorted((tmp_path / "workspace" / "logs").iterdir())]
    assert [log.count("noise 0\n") for log in logs] == [1, 0]


def test_logs_are_no_part_of_the_stages(home: Home):
    run(home)
    before = {path: path.read_bytes() for path in (home.folder / "workspace").glob("*/*") if path.suffix != ".log"}
    assert home.plan() == {}
    run(home, "--force")
    after = {path: path.read_bytes() for path in before if path.name != "stage.json"}
    assert after.items() <= before.items()
    assert all("Traceback" not in log for log in logs(home))


def test_old_logs_go(home: Home, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(run_log, "KEPT", 3)
    folder = home.folder / "workspace" / "logs"
    folder.mkdir(parents=True)
    for number in range(5):
        (folder / f"2020010{number}-000000-1.log").write_text("old")
    run(home)
    names = sorted(path.name for path in folder.iterdir())
    assert len(names) == 3
    assert names[:2] == ["20200103-000000-1.log", "20200104-000000-1.log"]


def test_a_workspace_that_is_held_gets_no_log(home: Home, capsys: pytest.CaptureFixture[str]):
    from dnndk_prep.config_file import load_config
    from dnndk_prep.pipeline import Pipeline

    with Pipeline(load_config(home.yaml)).workspace.lock():
        run(home, code=2)
    assert "K2D-0029" in capsys.readouterr().err
    assert not (home.folder / "workspace" / "logs").exists()


# --- the time that is left


def test_the_last_run_tells_how_long_it_takes():
    pace = Pace({"a": 10.0, "b": 20.0, "c": 30.0})
    assert pace.left("a", 4.0) == 56.0
    pace.finished("a", 20.0, ran=True)  # twice as slow as the last time
    assert pace.left("b", 0.0) == 100.0
    pace.finished("b", 0.0, ran=False)
    assert pace.left("c", 100.0) == 0.0
    assert (pace.number("c"), pace.number("x")) == (3, 0)


def test_stages_that_never_ran_are_guessed_and_corrected():
    pace = Pace({"train_save": None, "keras_2_tf": None})
    guess = pace.left("train_save", 0.0)
    assert guess > 0
    pace.finished("train_save", 1.0, ran=True)
    assert pace.left("keras_2_tf", 0.0) < guess / 10


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_which_console():
    assert type(console(io.StringIO(), None, {})) is Console
    assert type(console(Screen(), "text", {})) is Console
    assert type(console(Screen(), "json", {})) is JsonLines
    assert type(console(Screen(), None, {})) is Terminal


def test_a_terminal_has_a_bar_and_lines_that_stay(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("dnndk_prep.console.REFRESH", 0.02)
    screen = Screen()
    with Terminal(screen, {"first": 60.0, "second": 60.0}) as shown:
        shown.tell(Event("start", "first", "it has not run yet"))
        time.sleep(0.2)
        shown.tell(Event("done", "first", "", 2.0))
        shown.tell(Event("start", "second", "why"))
        time.sleep(0.2)
    text = screen.getvalue()
    assert re.search(r"\[1/2\] first \|.*\| 0 s, about 1 min 59 s left", text)
    assert re.search(r"\[2/2\] second \|.*\| 0 s, about [12] s left", text)
    assert "first: done in 2.0 s\n" in text
    # The bar is wiped away at the end.
    assert re.search(r"\r *\r$", text)
