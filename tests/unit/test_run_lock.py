"""run.lock.yaml as a file: its size, and the types of its values."""

from pathlib import Path

import pytest

from dnndk_prep import run_lock
from dnndk_prep.errors import UsageError


def test_a_long_lock_file_is_read(tmp_path: Path):
    """One with more values than a pipeline.yaml may have."""
    stage = {"code": "a", "made_of": "b", "artifacts": {f"images/{i}.png": "c" for i in range(12_000)}}
    locked = {**run_lock.described({}), "stages": {"export": stage}}
    (tmp_path / "run.lock.yaml").write_text(run_lock.as_text(locked))
    assert run_lock.read(tmp_path / "run.lock.yaml")["stages"]["export"] == stage


@pytest.mark.parametrize("seed", ["false", "'0'", "0.0"])
def test_what_could_be_read_as_the_seed_is_not_the_seed(tmp_path: Path, seed: str):
    (tmp_path / "run.lock.yaml").write_text(
        run_lock.as_text(run_lock.described({})).replace("seed: null", f"seed: {seed}")
    )
    with pytest.raises(UsageError, match="seed: input should be a valid integer"):
        run_lock.read(tmp_path / "run.lock.yaml")


def test_a_missing_part_is_named_in_few_words(tmp_path: Path):
    (tmp_path / "run.lock.yaml").write_text("format: 1\n")
    with pytest.raises(UsageError, match=r"run.lock.yaml:1:1: versions is missing") as told:
        run_lock.read(tmp_path / "run.lock.yaml")
    assert "found" not in str(told.value)
