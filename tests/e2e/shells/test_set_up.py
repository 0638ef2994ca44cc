"""run_all.sh and scripts/test: which environment they use, make and leave alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from standins import (
    CONDA,
    NAME,
    PYTHON,
    Checkout,
    Terminal,
    calls,
    listing,
    make_environment,
    reached,
    set_requirements,
)

# --- .venv


def test_first_run_makes_the_environment_and_the_second_makes_nothing(with_python: Checkout) -> None:
    assert reached(with_python.run())["words"] == ["run", f"{with_python.root}/pipeline.yaml"]
    first = with_python.log()
    assert calls(first, "python -m venv ") == [f"python -m venv {with_python.venv}"]
    assert [line.endswith(f"-e {with_python.root}") for line in calls(first, "python -m pip ")] == [True]
    reached(with_python.run())
    second = with_python.log()
    assert not calls(second, "python -m venv ")
    assert not calls(second, "python -m pip ")


@pytest.mark.parametrize("name", ["pyproject.toml", "environment.yml"])
def test_changed_requirements_are_installed_into_the_same_environment(with_python: Checkout, name: str) -> None:
    with_python.run()
    with_python.log()
    with (with_python.root / name).open("a") as file:
        file.write("# changed\n")
    reached(with_python.run())
    log = with_python.log()
    assert calls(log, "python -m pip ")
    assert not calls(log, "python -m venv ")


def test_failed_installation_is_told_and_redone(with_python: Checkout) -> None:
    failed = with_python.run(PIP_RESULT="1")
    assert failed.returncode == 1
    assert "PIPELINE" not in failed.stdout
    assert "ERROR: no network" in failed.stderr
    assert "pip could not install" in failed.stderr
    left = with_python.venv / "left by the first try"
    left.touch()
    reached(with_python.run())
    assert not left.exists()


@pytest.mark.parametrize("half", ["empty folder", "no bin/python", "Python is gone", "a file"])
def test_half_made_environment_is_made_anew(with_python: Checkout, half: str) -> None:
    if half == "a file":
        with_python.venv.touch()
    else:
        with_python.venv.mkdir()
    if half in ("no bin/python", "Python is gone"):
        (with_python.venv / "bin").mkdir()
        (with_python.venv / "pyvenv.cfg").touch()
    if half == "Python is gone":
        (with_python.venv / "bin/python").symlink_to("/nonexistent/python")
    reached(with_python.run())
    assert calls(with_python.log(), "python -m venv ")


def test_pythons_are_taken_in_order_and_broken_ones_passed_over(with_python: Checkout) -> None:
    for name in {"python3.13", "python3.12", "python3.11"} - {NAME}:
        with_python.add(name, "#!/usr/bin/env bash\necho 'not selected' >&2; exit 127\n")
    assert f"with {with_python.bin}/{NAME}" in with_python.run().stderr


def test_pyenv_version_behind_a_shim_that_refuses(checkout: Checkout) -> None:
    checkout.add(NAME, "#!/usr/bin/env bash\nexit 127\n")
    checkout.add("pyenv", f'#!/usr/bin/env bash\n[ "$1" = root ] && echo "{checkout.bin.parent}/pyenv"\n')
    real = checkout.add(f"../pyenv/versions/{NAME.removeprefix('python')}.9/bin/{NAME}", PYTHON)
    assert f"with {real.resolve()}" in checkout.run().stderr


def test_without_a_python_it_says_what_to_install(checkout: Checkout) -> None:
    done = checkout.run()
    assert done.returncode == 1
    assert "no Python 3.13, 3.12 or 3.11" in done.stderr
    for word in ("Debian", "apt install", "Fedora", "dnf install", "conda"):
        assert word in done.stderr
    assert not checkout.venv.exists()


def test_python_without_venv_is_named(checkout: Checkout) -> None:
    text = PYTHON.replace("case", 'case "$*" in *ensurepip*) exit 1 ;; esac\ncase', 1)
    path = checkout.add(NAME, text)
    done = checkout.run()
    assert done.returncode == 1
    assert f"{path} is there, but lacks venv" in done.stderr


# --- an active environment


@pytest.mark.parametrize("variable", ["VIRTUAL_ENV", "CONDA_PREFIX"])
def test_active_environment_is_used_and_not_altered(with_python: Checkout, tmp_path: Path, variable: str) -> None:
    with_python.add("conda", CONDA)
    active = make_environment(with_python, tmp_path / "active one")
    before = listing(active)
    reached(with_python.run(**{variable: str(active), "CONDA_DEFAULT_ENV": "active"}))
    log = with_python.log()
    assert not calls(log, "conda")
    assert not calls(log, "python -m pip ")
    assert listing(active) == before
    assert not with_python.venv.exists()


def test_active_environment_that_lacks_something_is_refused_without_a_terminal(
    with_python: Checkout, tmp_path: Path
) -> None:
    set_requirements(with_python.root, ["packaging", "no-such-thing-here>=3", "packaging<1"])
    active = make_environment(with_python, tmp_path / "active")
    before = listing(active)
    done = with_python.run(VIRTUAL_ENV=str(active))
    assert done.returncode == 1
    assert "no-such-thing-here>=3: not installed" in done.stderr
    assert "packaging<1: found " in done.stderr
    assert "was left as it is" in done.stderr
    assert not calls(with_python.log(), "python -m pip ")
    assert listing(active) == before


@pytest.mark.parametrize(("answer", "installed"), [("y\n", True), ("n\n", False), ("\n", False)])
def test_active_environment_is_altered_when_the_user_says_so(
    with_python: Checkout, tmp_path: Path, answer: str, installed: bool
) -> None:
    set_requirements(with_python.root, ["no-such-thing-here"])
    active = make_environment(with_python, tmp_path / "active")
    with Terminal(with_python, [str(with_python.root / "run_all.sh")], VIRTUAL_ENV=str(active)) as terminal:
        terminal.until("[y/N]")
        terminal.write(answer)
        terminal.until("PIPELINE" if installed else "was left as it is")
    assert bool(calls(with_python.log(), "python -m pip ")) is installed


def test_active_environment_with_an_unsupported_python_is_refused(with_python: Checkout, tmp_path: Path) -> None:
    active = make_environment(with_python, tmp_path / "active")
    (active / "bin/python").write_text("#!/usr/bin/env bash\necho 3.8\n")
    done = with_python.run(VIRTUAL_ENV=str(active))
    assert done.returncode == 1
    assert "has Python 3.8" in done.stderr


def test_active_environment_that_is_gone_is_refused(with_python: Checkout) -> None:
    done = with_python.run(VIRTUAL_ENV="/nonexistent")
    assert done.returncode == 1
    assert "/nonexistent has no Python that runs" in done.stderr


def test_conda_base_does_not_count_as_active(with_python: Checkout, tmp_path: Path) -> None:
    base = make_environment(with_python, tmp_path / "base")
    reached(with_python.run(CONDA_PREFIX=str(base), CONDA_DEFAULT_ENV="base"))
    assert with_python.venv.is_dir()


# --- conda (a stand-in)


def test_conda_environment_is_made_once(with_python: Checkout) -> None:
    with_python.add("conda", CONDA)
    assert reached(with_python.run("--to", "freeze graph"))["words"][2:] == ["--to", "freeze graph"]  # type: ignore[index]
    first = calls(with_python.log(), "conda")
    assert calls(first, "conda env create") == ["conda env create --quiet -n dnndk_prep -f environment.yml"]
    assert first[-1].startswith("conda run -n dnndk_prep --no-capture-output python -P -m dnndk_prep run ")
    reached(with_python.run())
    second = calls(with_python.log(), "conda")
    assert not calls(second, "conda env create")
    assert not calls(second, "conda env update")
    assert not with_python.venv.exists()


def test_conda_environment_is_updated_when_the_requirements_changed(with_python: Checkout) -> None:
    with_python.add("conda", CONDA)
    with_python.run()
    with_python.log()
    set_requirements(with_python.root, ["packaging>=20"])
    reached(with_python.run())
    log = with_python.log()
    assert calls(log, "conda env update") == ["conda env update --quiet -n dnndk_prep -f environment.yml"]
    assert not calls(log, "conda env create")


def test_named_conda_environment_is_made_and_used(with_python: Checkout) -> None:
    with_python.add("conda", CONDA)
    reached(with_python.run(DNNDK_PREP_ENV="mine"))
    log = calls(with_python.log(), "conda")
    assert "conda env create --quiet -n mine -f environment.yml" in log
    assert log[-1].startswith("conda run -n mine ")


def test_named_conda_environment_of_the_user_is_not_altered(with_python: Checkout) -> None:
    with_python.add("conda", CONDA)
    theirs = make_environment(with_python, Path(with_python.env["CONDAS"]) / "mine")
    before = listing(theirs)
    reached(with_python.run(DNNDK_PREP_ENV="mine"))
    assert calls(with_python.log(), "conda")[-1].startswith("conda run -n mine ")
    set_requirements(with_python.root, ["no-such-thing-here"])
    refused = with_python.run(DNNDK_PREP_ENV="mine")
    assert refused.returncode == 1
    assert "no-such-thing-here: not installed" in refused.stderr
    assert not calls(with_python.log(), "conda env update")
    assert listing(theirs) == before


def test_conda_that_is_a_shell_function_is_found_by_conda_exe(with_python: Checkout, tmp_path: Path) -> None:
    conda = with_python.add("../conda dir/conda", CONDA)
    reached(with_python.run(CONDA_EXE=str(conda)))
    assert calls(with_python.log(), "conda env create")


def test_failing_conda_is_told(with_python: Checkout) -> None:
    with_python.add("conda", CONDA.replace("mkdir -p", "exit 5; mkdir -p"))
    done = with_python.run()
    assert done.returncode == 1
    assert "conda could not create the environment dnndk_prep" in done.stderr
    assert "PIPELINE" not in done.stdout


def test_named_conda_environment_without_conda_is_refused(with_python: Checkout) -> None:
    done = with_python.run(DNNDK_PREP_ENV="mine")
    assert done.returncode == 1
    assert "there is no conda" in done.stderr


# --- scripts/test


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "python -m pytest -n auto --dist loadfile -m not slow and not faults"),
        (
            ["tests/unit", "-x"],
            "python -m pytest -n auto --dist loadfile -m not slow and not faults tests/unit -x",
        ),
        (["all"], "python -m pytest -n auto --dist loadfile -m not faults"),
        (["all", "-x"], "python -m pytest -n auto --dist loadfile -m not faults -x"),
    ],
)
def test_test_script_sets_itself_up(with_python: Checkout, words: list[str], expected: str) -> None:
    done = with_python.shell(
        "bash", f'"{with_python.root}/scripts/test" "$@"'.replace('"check out"', r"\"check out\""), *words
    )
    assert done.returncode == 0, done.stderr
    log = with_python.log()
    assert log[-1] == expected
    assert calls(log, "python -m pip ")[0].endswith("[dev]")
    reached(with_python.run())
    assert not calls(with_python.log(), "python -m pip "), "what dev installs holds what the pipeline needs"


def test_test_script_does_not_alter_an_active_environment(with_python: Checkout, tmp_path: Path) -> None:
    text = (with_python.root / "pyproject.toml").read_text().replace('"pytest"', '"no-such-thing-here"')
    (with_python.root / "pyproject.toml").write_text(text)
    active = make_environment(with_python, tmp_path / "active")
    script = 'exec "$HOME/"*check*out*/scripts/test'
    done = with_python.shell("bash", script, VIRTUAL_ENV=str(active))
    assert done.returncode == 1
    assert "no-such-thing-here: not installed" in done.stderr
    assert not calls(with_python.log(), "python -m pip ")
