"""When a stage runs and why, what a failure leaves, and how the command line tells of it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dnndk_prep import cli, made_of, pipeline, stage_list
from dnndk_prep.config_file import load_config
from dnndk_prep.errors import ModelFileError, StageError, UsageError
from dnndk_prep.pipeline import Pipeline
from dnndk_prep.stage_list import Selection, Stage

THREE = (
    Stage("first", (), ("model", "seed")),
    Stage("second", ("first",), ("train_save",)),
    Stage("third", ("second",), ("target",)),
)


class Home:
    """A workspace with three stages that write what they were told."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.ran, self.fail = folder, [], None
        self.yaml = folder / "p.yaml"
        self.yaml.write_text("seed: 1\n")
        monkeypatch.setattr(stage_list, "STAGES", THREE)
        for module in (stage_list, pipeline):
            monkeypatch.setattr(module, "NAMES", tuple(stage.name for stage in THREE))
        monkeypatch.setattr(Stage, "code", lambda stage: "1")
        # The models named here are any bytes.
        monkeypatch.setattr(Pipeline, "_scan_model", lambda pipeline: None)
        monkeypatch.setattr(Stage, "run", lambda stage: lambda ctx: self._stage(stage.name, ctx))

    def _stage(self, name: str, ctx) -> dict:
        self.ran.append(name)
        (ctx.out / "half").write_text("half")
        if self.fail and self.fail[0] == name:
            raise self.fail[1]
        text = {"first": f"seed {ctx.cfg.seed % 10}", "second": str(ctx.cfg.train_save.epochs), "third": "end"}[name]
        (ctx.out / "artifact").write_text(text)
        return {"warnings": []}

    def run(self, **selection) -> list[str]:
        self.ran.clear()
        for _ in Pipeline(load_config(self.yaml)).run(Selection(**selection), lambda text: None):
            pass
        return list(self.ran)

    def plan(self, **selection) -> dict[str, str]:
        steps = Pipeline(load_config(self.yaml)).plan(Selection(**selection))
        return {step.stage.name: step.why for step in steps if step.runs}

    def read(self, stage: str) -> str:
        return (self.folder / "workspace" / stage / "artifact").read_text()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    return Home(tmp_path, monkeypatch)


def test_a_second_run_runs_nothing(home: Home):
    assert home.run() == ["first", "second", "third"]
    assert home.run() == []
    assert home.plan() == {}


def test_a_changed_section_runs_its_stage_and_what_changes_after_it(home: Home):
    home.run()
    home.yaml.write_text("seed: 1\ntrain_save: {epochs: 3}\n")
    assert home.plan() == {"second": "train_save.epochs changed", "third": "second runs before it"}
    assert home.run() == ["second", "third"]
    assert home.read("second") == "3"


def test_equal_outputs_stop_the_wave(home: Home):
    home.run()
    home.yaml.write_text("seed: 11\n")  # `first` runs again and writes the same bytes
    assert home.run() == ["first"]


def test_outside_files_count_by_content_not_time_or_path(home: Home, tmp_path: Path):
    (tmp_path / "a.h5").write_bytes(b"model")
    home.yaml.write_text("model: {path: a.h5}\n")
    home.run()
    os.utime(tmp_path / "a.h5", (1, 1))
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.h5").rename(tmp_path / "sub" / "b.h5")
    home.yaml.write_text("model: {path: sub/b.h5}\n")
    assert home.plan() == {}
    (tmp_path / "sub" / "b.h5").write_bytes(b"other")
    assert home.plan()["first"] == "the content of model.path changed"


def test_version_changes_are_named(home: Home, monkeypatch: pytest.MonkeyPatch):
    home.run()
    monkeypatch.setattr(made_of, "versions", lambda: {"tensorflow": "9", "keras": "9", "tf_keras": "9"})
    assert home.plan()["first"] == "the version of tensorflow changed"
    monkeypatch.undo()


def test_a_damaged_artifact_is_named_and_made_again(home: Home):
    home.run()
    (home.folder / "workspace" / "second" / "artifact").write_text("edited")
    assert home.plan()["second"] == "artifact was changed since"
    assert home.run() == ["second"]
    (home.folder / "workspace" / "second" / "more").write_text("")
    assert home.plan()["second"] == "more was added since"
    (home.folder / "workspace" / "second" / "artifact").unlink()
    assert home.plan()["second"] == "artifact is gone"


def test_a_workspace_that_moved_is_still_fresh(home: Home):
    home.run()
    (home.folder / "workspace").rename(home.folder / "moved")
    home.yaml.write_text("seed: 1\nworkspace: moved\n")
    assert home.plan() == {}


def test_a_failure_leaves_the_last_good_artifacts_and_no_half_folder(home: Home):
    home.run()
    home.fail = ("second", StageError("no"))
    home.yaml.write_text("train_save: {epochs: 5}\nseed: 1\n")
    with pytest.raises(StageError):
        home.run()
    assert home.read("second") == "6"
    assert sorted(p.name for p in (home.folder / "workspace").iterdir() if p.name.startswith(".new")) == []
    home.fail = None
    assert home.run() == ["second", "third"]


def test_a_killed_replacement_is_mended(home: Home):
    home.run()
    workspace = home.folder / "workspace"
    (workspace / "second").rename(workspace / ".old-second")
    (workspace / ".new-third").mkdir()
    assert home.run() == []
    assert home.read("second") == "6"
    assert not (workspace / ".new-third").exists()


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        RuntimeError("Can't decrement id ref count (file write failed: No space left on device)"),
        OSError("Unable to flush file (file write failed: time = noon\n, error message = 'No space left on device')"),
    ],
)
def test_disk_errors_are_stage_errors(home: Home, error: Exception):
    home.fail = ("first", error)
    with pytest.raises(StageError, match="No space left"):
        home.run()
    home.fail = ("first", RuntimeError("of another kind"))
    with pytest.raises(RuntimeError):
        home.run()


def test_facts_that_were_edited_are_made_again(home: Home):
    """The report tells them on."""
    home.run()
    path = home.folder / "workspace" / "second" / "stage.json"
    path.write_text(path.read_text().replace('"warnings": []', '"warnings": ["all is well"]'))
    assert home.plan()["second"] == "stage.json was changed since"
    path.write_text("{")
    assert home.plan()["second"] == "stage.json is gone or was changed"
    assert home.run() == ["second"]


def test_a_result_of_an_edited_artifact_is_no_result_of_the_right_one(home: Home, monkeypatch: pytest.MonkeyPatch):
    """`second` is used as it is and edited; made again later, what was made of the edited one is not fresh."""
    home.run()
    artifact = home.folder / "workspace" / "second" / "artifact"
    artifact.write_text("edited")
    assert home.run(only="third") == ["third"]
    assert home.run() == ["second", "third"]


def test_a_pipeline_reads_its_files_anew_for_each_run(home: Home, tmp_path: Path):
    model = tmp_path / "a.h5"
    model.write_bytes(b"one")
    home.yaml.write_text("model: {path: a.h5}\n")
    pipeline = Pipeline(load_config(home.yaml))

    def run() -> list[str]:
        return [step.stage.name for step, _ in pipeline.run(Selection(), lambda text: None) if step.runs]

    assert run() == ["first", "second", "third"]
    times = model.stat().st_atime_ns, model.stat().st_mtime_ns
    model.write_bytes(b"two")
    os.utime(model, ns=times)
    assert run() == ["first"]


def test_a_file_that_is_written_to_during_its_stage(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    model = tmp_path / "a.h5"
    model.write_bytes(b"one")
    home.yaml.write_text("model: {path: a.h5}\n")
    real = home._stage

    def writing(name: str, ctx) -> dict:
        if name == "first":
            model.write_bytes(b"two")
        return real(name, ctx)

    monkeypatch.setattr(home, "_stage", writing)
    with pytest.raises(ModelFileError, match=r"model\.path was written to while first read it"):
        home.run()
    model.write_bytes(b"two")
    assert home.run() == ["first", "second", "third"]


def verify(home: Home, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, list[str], str]:
    code = cli.main(["verify-lock", str(home.yaml), *words])
    said = capsys.readouterr()
    return code, said.out.splitlines(), said.err


def test_the_lock_file_names_what_differs(home: Home, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    (tmp_path / "a.h5").write_bytes(b"model")
    home.yaml.write_text("seed: 1\nmodel: {path: a.h5}\n")
    assert verify(home, capsys)[0] == 2
    home.run()
    lock = home.folder / "workspace" / "run.lock.yaml"
    kept = lock.read_bytes()
    code, lines, _ = verify(home, capsys)
    assert code == 0
    assert lines == [f"{lock}: 6 artifacts are as locked, and so is all that they were made of"]
    home.run(force=True)
    assert lock.read_bytes() == kept
    (home.folder / "kept.yaml").write_bytes(kept)

    (home.folder / "workspace" / "second" / "artifact").write_text("edited")
    (tmp_path / "a.h5").write_bytes(b"other")
    home.yaml.write_text("seed: 2\nmodel: {path: a.h5}\ntarget: {board: kv260}\n")
    lock.write_text(lock.read_text().replace("  keras: ", "  keras: 0"))
    code, lines, error = verify(home, capsys)
    assert code == 4
    assert "explain K2D-0035" in error
    names = [line.partition(":")[0] for line in lines]
    assert names == [
        "versions.keras", "seed", "settings.target.board", "files.model.path", "stages.first.made_of",
        "stages.second.artifacts.artifact", "stages.third.made_of",
    ]  # fmt: skip
    assert verify(home, capsys, "--lock", str(home.folder / "kept.yaml"))[1] == lines[1:]
    home.run()
    assert verify(home, capsys)[0] == 0
    lock.write_text("stages: {first: no}\n")
    assert verify(home, capsys)[0] == 2


def test_verify_lock_waits_for_no_run(home: Home, capsys: pytest.CaptureFixture[str]):
    home.run()
    with Pipeline(load_config(home.yaml)).workspace.lock():
        code, _, error = verify(home, capsys)
    assert code == 2
    assert f"process {os.getpid()}" in error


def test_selection(home: Home):
    with pytest.raises(StageError, match="needs the artifacts of first"):
        home.run(only="second")
    assert home.run(last="second") == ["first", "second"]
    assert home.run(only="second", force=True) == ["second"]
    assert home.run(first="second") == ["third"]
    with pytest.raises(UsageError, match="did you mean third"):
        home.run(only="thrid")
    with pytest.raises(UsageError, match="stands alone"):
        home.run(only="third", last="third")
    with pytest.raises(UsageError, match="comes after"):
        home.run(first="third", last="first")


def test_a_missing_model_file(home: Home):
    home.yaml.write_text("model: {path: none.h5}\n")
    with pytest.raises(ModelFileError, match="no such file"):
        home.run()


def test_two_runs_at_once_are_refused_by_name(home: Home):
    first = Pipeline(load_config(home.yaml))
    with first.workspace.lock(), pytest.raises(UsageError, match=f"process {os.getpid()}"):
        home.run()
    assert home.run() == ["first", "second", "third"]


def test_a_workspace_that_cannot_be_made(home: Home):
    (home.folder / "file").write_text("")
    home.yaml.write_text("workspace: file\n")
    with pytest.raises(UsageError, match="cannot be written"):
        home.run()


def test_the_resume_command_is_exact(home: Home, capsys: pytest.CaptureFixture[str]):
    home.fail = ("second", StageError("the stage's own words"))
    code = cli.main(["run", str(home.yaml), "--set", "train_save.epochs=3", "--to", "second"])
    said = capsys.readouterr()
    assert code == 4
    assert "the stage's own words" in said.err
    resume = said.err.split("go on with:\n  ")[1].splitlines()[0]
    assert resume == f"{sys.executable} -m dnndk_prep run {home.yaml} --set train_save.epochs=3 --to second"
    home.fail = None
    assert cli.main(resume.split()[3:]) == 0
    assert home.ran == ["first", "second", "second"]


def test_resume_after_force_forces_what_was_left(home: Home, capsys: pytest.CaptureFixture[str]):
    home.run()
    home.fail = ("second", KeyboardInterrupt())
    assert cli.main(["run", str(home.yaml), "--force"]) == 130
    assert (
        f"second interrupted; go on with:\n  {sys.executable} -m dnndk_prep run {home.yaml} --from second --force"
        in (capsys.readouterr().err)
    )


def test_a_bug_of_ours_is_exit_1_with_its_traceback(home: Home, capsys: pytest.CaptureFixture[str]):
    home.fail = ("first", ZeroDivisionError())
    assert cli.main(["run", str(home.yaml)]) == 1
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_stage_json_tells_artifacts_and_no_absolute_path(home: Home):
    home.run()
    text = (home.folder / "workspace" / "first" / "stage.json").read_text()
    record = json.loads(text)
    assert record["artifacts"]["artifact"]["bytes"] == len("seed 1")
    assert str(home.folder) not in text


def test_check_and_plan_do_not_import_tensorflow(tmp_path: Path):
    (tmp_path / "pipeline.yaml").write_text("")
    for word in ("check", "plan"):
        code = (
            "import sys; from dnndk_prep.cli import main; code = main([sys.argv[1]]);"
            "assert not {'tensorflow', 'keras', 'tf_keras', 'matplotlib'} & set(sys.modules); sys.exit(code)"
        )
        done = subprocess.run([sys.executable, "-c", code, word], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_sigterm_ends_the_run_with_the_resume_command(tmp_path: Path):
    (tmp_path / "pipeline.yaml").write_text("")
    code = (
        "import sys, time\nfrom dnndk_prep import cli, stage_list\n"
        "stage_list.Stage.run = lambda stage: lambda ctx: (print('started', flush=True), time.sleep(60))\n"
        "sys.exit(cli.main(['run']))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert any("started" in line for line in process.stdout)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=40)
    assert process.returncode == 143
    assert f"train_save interrupted; go on with:\n  {sys.executable} -m dnndk_prep run pipeline.yaml" in err


def test_real_stages_are_consistent():
    names = [stage.name for stage in stage_list.STAGES]
    for index, stage in enumerate(stage_list.STAGES):
        assert set(stage.needs) <= set(names[:index])


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_inside_an_exec_keep_the_exit_code(tmp_path: Path, number: int, code: int):
    """As while TensorFlow is imported: each of its dataclasses is an exec() of a string."""
    (tmp_path / "p.yaml").write_text("")
    program = (
        "import sys\nfrom dnndk_prep import cli, stage_list\n"
        f"kill = 'import os; os.kill(os.getpid(), {int(number)})'\n"
        "stage_list.Stage.run = lambda stage: lambda ctx: exec(kill)\n"
        "sys.argv[1:] = ['run', 'p.yaml']\ncli.entry()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == code
    assert "train_save interrupted; go on with:" in done.stderr
