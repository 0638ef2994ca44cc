"""Artifacts that were changed in any way are noticed, named and made again; no model gets the results of another."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import runs
from figures import Figures
from prepared import Prepared

from dnndk_prep.config_file import load_config
from dnndk_prep.pipeline import Pipeline
from dnndk_prep.stage_list import Selection
from dnndk_prep.workspace import Workspace


def flip(path: Path) -> None:
    """One bit, with size and times as they were."""
    found, content = path.stat(), bytearray(path.read_bytes())
    place = random.Random(len(content)).randrange(len(content))
    content[place] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def cut(path: Path) -> None:
    """Two bytes: the last one of stage.json ends a line, and says nothing."""
    path.write_bytes(path.read_bytes()[:-2])


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def link(path: Path) -> None:
    """The same bytes, elsewhere, where they may change at any time."""
    elsewhere = next(folder.parent for folder in path.parents if folder.name == "workspace") / "elsewhere"
    shutil.copyfile(path, elsewhere)
    path.unlink()
    path.symlink_to(elsewhere)


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


WAYS: tuple[Callable[[Path], None], ...] = (flip, cut, lengthen, Path.unlink, link, pipe)


def planned(yaml: Path) -> dict[str, str]:
    """The stages that would run, and why."""
    return {step.stage.name: step.why for step in Pipeline(load_config(yaml)).plan(Selection()) if step.runs}


def damaged(workspace: Path, stage: str) -> str | None:
    """What the next run says of the stage's folder."""
    kept = Workspace(workspace)
    record = kept.record(stage)
    return "stage.json is gone" if record is None else kept.damaged(stage, record)


@pytest.mark.faults
def test_each_artifact_in_each_way_is_named(undisturbed: Path, figures: Figures, tmp_path: Path):
    home = Path(shutil.copytree(undisturbed, tmp_path / "home"))
    yaml, workspace = home / "pipeline.yaml", home / "workspace"
    with figures(
        "Tampering", "each artifact edited, cut, lengthened, removed, linked, made a pipe, or one added"
    ) as row:
        assert planned(yaml) == {}
        for stage in runs.NAMES:
            for path in [path for path in (workspace / stage).rglob("*") if path.is_file()]:
                name, content = path.relative_to(workspace / stage).as_posix(), path.read_bytes()
                for way in WAYS:
                    if not content or (path.name == "stage.json" and way in (link, pipe)):
                        continue
                    way(path)
                    row.cases += 1
                    # A plan reads all folders, for each way it need not.
                    why = planned(yaml).get(stage) if way is flip else damaged(workspace, stage)
                    if not (why or "nothing changed").startswith(name):
                        row.lose(f"{stage}/{name}, {way.__name__}: {why}")
                    path.unlink(missing_ok=True)
                    path.write_bytes(content)
            (workspace / stage / "more").write_text("")
            row.cases += 1
            # The vendors' tools write into the bundles: what they add is theirs, and stays.
            if planned(yaml).get(stage) != (None if stage == "export" else "more was added since"):
                row.lose(f"{stage}: {planned(yaml).get(stage)} after a file was added")
            (workspace / stage / "more").unlink()
        assert planned(yaml) == {}


@pytest.mark.faults
def test_what_was_tampered_with_is_made_again(
    crew: tuple[Prepared, Prepared], undisturbed: Path, figures: Figures, tmp_path: Path
):
    wanted = runs.artifacts(undisturbed / "workspace")
    home = Path(shutil.copytree(undisturbed, tmp_path / "home"))
    yaml, workspace = home / "pipeline.yaml", home / "workspace"
    with figures("Tampering", "runs after an artifact of each stage was changed") as row:
        for number, stage in enumerate(runs.NAMES):
            way = (flip, cut, Path.unlink)[number % 3]
            files = sorted(path for path in (workspace / stage).rglob("*") if path.stat().st_size and path.is_file())
            path = files[number % len(files)]
            way(path)
            done = crew[0].run(["run", str(yaml)], workspace)
            row.runs += 1
            row.faults += 1
            named = f"{stage}: {path.relative_to(workspace / stage).as_posix()} "
            if done.code or f"\n{named}" not in done.out:
                row.lose(f"{named}: {done.out[-300:]} {done.err[-300:]}")
            if wrong := runs.differing(runs.artifacts(workspace), wanted):
                row.lose(f"{named}: {wrong[:3]}")


def write_model(path: Path, seed: int) -> None:
    """Two models of one architecture, of one size; times alike."""
    import keras

    keras.utils.set_random_seed(seed)
    image = x = keras.Input((8, 8, 1), name="image")
    x = keras.layers.Conv2D(4, 3, activation="relu", name="conv")(x)
    x = keras.layers.Dense(2, name="logits")(keras.layers.Flatten(name="flatten")(x))
    keras.Model(image, x, name="net").save(path)
    os.utime(path, (0, 0))


GIVEN = """\
model: {{path: {model}}}
workspace: {workspace}
dataset: {{name: npz, path: data.npz}}
preprocess: {{channels: gray, scale: 0.004}}
calibration: {{count: {count}, batch_size: 2}}
target: {{toolchain: vitis-ai-2.5}}
"""


@pytest.mark.faults
def test_a_model_never_gets_another_ones_results(crew: tuple[Prepared, Prepared], figures: Figures, tmp_path: Path):
    """Two models that take turns under one path with one size and one time, and two configurations on one workspace."""
    home = tmp_path / "home"
    runs.write_home(home)
    for seed in (1, 2):
        write_model(home / f"{seed}.h5", seed)
    assert (home / "1.h5").stat().st_size == (home / "2.h5").stat().st_size

    def run(model: str, workspace: str, count: int) -> dict[str, str]:
        yaml = home / f"{workspace}.yaml"
        yaml.write_text(GIVEN.format(model=model, workspace=workspace, count=count))
        done = crew[0].run(["run", str(yaml)], home / workspace)
        assert done.code == 0, done.err
        row.runs += 1
        found = runs.artifacts(home / workspace)
        return {name: sha256 for name, sha256 in found.items() if not name.endswith("stage.json")}

    with figures("Tampering", "two models in turn: same path, size and time, or two settings on one workspace") as row:
        wanted = {}
        for number, count in ((1, 4), (2, 4), (2, 6)):
            shutil.copy2(home / f"{number}.h5", home / "net.h5")
            wanted[number, count] = run("net.h5", f"alone{number}{count}", count)
        for number, count in ((1, 4), (2, 4), (1, 4), (2, 6), (2, 4)):
            shutil.copy2(home / f"{number}.h5", home / "net.h5")
            row.cases += 1
            if wrong := runs.differing(run("net.h5", "shared", count), wanted[number, count]):
                row.lose(f"model {number}, {count} images: {wrong[:3]}")
