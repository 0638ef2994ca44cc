"""What others put into a workspace: nothing of theirs is lost, and no link leads a run out of it."""

from pathlib import Path

import pytest

from dnndk_prep import cli
from dnndk_prep.errors import UsageError
from dnndk_prep.workspace import Workspace


def write(workspace: Workspace, text: str) -> None:
    with workspace.lock():
        (workspace.begin("export") / "quantize.sh").write_text(text)
        workspace.commit("export", {}, {"facts": {}})


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """With a finished stage and what the vendor's tool wrote into its folder."""
    made = Workspace(tmp_path / "workspace", ["export"])
    write(made, "one")
    results = made.folder("export") / "quantize_results"
    results.mkdir()
    (results / "quantize_eval_model.pb").write_text("hours of work")
    return made


def test_results_in_a_shared_folder_are_no_damage(workspace: Workspace):
    record = workspace.record("export")
    assert record is not None
    assert workspace.damaged("export", record) is None
    assert list(workspace.contents("export")) == ["quantize.sh"]
    assert (
        Workspace(workspace.root).damaged("export", record) == "quantize_results/quantize_eval_model.pb was added since"
    )


def test_results_survive_a_new_run_of_the_stage(workspace: Workspace):
    write(workspace, "two")
    assert {path.name for path in workspace.folder("export").iterdir()} == {"quantize.sh", "stage.json"}
    kept = workspace.kept["export"]
    assert kept.parent == workspace.root / "kept"
    assert (kept / "quantize_results" / "quantize_eval_model.pb").read_text() == "hours of work"


def test_results_survive_a_kill_between_the_renames(workspace: Workspace):
    """The old folder stands beside the new one; the next run clears it away."""
    workspace.folder("export").rename(workspace.root / ".old-export")
    workspace.folder("export").mkdir()
    with workspace.lock():
        pass
    assert not (workspace.root / ".old-export").exists()
    assert [path.read_text() for path in (workspace.root / "kept").rglob("*.pb")] == ["hours of work"]


@pytest.mark.parametrize("name", [".lock", ".scratch", "logs", "kept", "export", ".scratch/export"])
def test_a_link_is_refused_and_what_it_leads_to_stays(tmp_path: Path, name: str):
    outside = tmp_path / "outside"
    if name == ".lock":
        outside.write_text("mine")
    else:
        outside.mkdir()
        (outside / "mine.log").write_text("mine")
    workspace = Workspace(tmp_path / "workspace")
    (workspace.root / name).parent.mkdir(parents=True)
    (workspace.root / name).symlink_to(outside)

    def begin() -> None:
        with workspace.lock():
            workspace.begin("export")
            workspace.scratch("export")

    with pytest.raises(UsageError, match="is a link") as refused:
        begin()
    assert str(outside) in str(refused.value)
    assert (outside if name == ".lock" else outside / "mine.log").read_text() == "mine"


def test_a_workspace_may_be_a_link(tmp_path: Path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "workspace").symlink_to(tmp_path / "disk")
    write(Workspace(tmp_path / "workspace"), "one")
    assert (tmp_path / "disk" / "export" / "quantize.sh").read_text() == "one"


def test_a_folder_whose_name_is_no_text_is_told(tmp_path: Path):
    with pytest.raises(UsageError, match=r"UTF-8") as told, Workspace(tmp_path / "ws\udcfe").lock():
        pass
    assert r"ws\xfe" in str(told.value)


def test_quantize_writes_into_no_stage_and_through_no_link(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    words = ["quantize", "g.pb", "--inputs", "a", "--outputs", "b", "--calib", "c.npz", "--out"]
    (tmp_path / "quantize").mkdir()
    (tmp_path / "quantize" / "stage.json").write_text("{}")
    assert cli.main([*words, str(tmp_path / "quantize")]) == 2
    assert "belongs to a workspace" in capsys.readouterr().err
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "positions.json").symlink_to(tmp_path / "precious")
    assert cli.main([*words, str(tmp_path / "out")]) == 2
    assert "is a link" in capsys.readouterr().err
