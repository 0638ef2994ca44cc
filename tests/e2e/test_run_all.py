"""run_all.sh and scripts/test with a stand-in Python, conda and pipeline: what they set up, and what they leave."""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("run_all.sh", "scripts/_run_all", "scripts/_environment.sh", "scripts/_requirements.py", "scripts/test")
TOOLS = ("bash", "zsh", "dirname", "readlink", "sed", "rm", "mkdir", "cp", "cat", "env", "sort", "touch")
NAME = f"python3.{sys.version_info.minor}"

# Logs its words; makes environments and installs without doing so; runs everything else with the real Python.
PYTHON = f"""#!{shutil.which("bash")} -p
printf '%s\\n' "python $*" >> "$LOG"
case "$*" in
"-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
"-m pip "*)
    echo "Collecting things"
    [ "${{PIP_RESULT:-0}}" = 0 ] || echo "ERROR: no network" >&2
    exit "${{PIP_RESULT:-0}}" ;;
"-m pytest"*) exit 0 ;;
*) exec '{sys.executable}' "$@" ;;
esac
"""

# Logs its words; its environments are the folders in $CONDAS.
CONDA = """#!/usr/bin/env bash
printf '%s\\n' "conda $*" >> "$LOG"
case "$1 $2" in
"env list")
    printf '# conda environments:\\n#\\n%-20s  * %s\\n' base /opt/conda
    for one in "$CONDAS"/*/; do [ -d "$one" ] && printf '%-20s    %s\\n' "$(basename "$one")" "${one%/}"; done
    exit 0 ;;
"env create") mkdir -p "$CONDAS/$5/bin" && cp "$STANDIN_PYTHON" "$CONDAS/$5/bin/python" ;;
"env update") : ;;
"run -n") name=$3; shift 5; exec "$CONDAS/$name/bin/python" "$@" ;;
*) echo "unexpected: conda $*" >&2; exit 99 ;;
esac
"""

PIPELINE = """
import json, os, sys, time
words = sys.argv[1:]
try:
    print("PIPELINE " + json.dumps({"words": words, "cwd": os.getcwd()}), flush=True)
    time.sleep(30 if "--sleep" in words else 0)
except KeyboardInterrupt:
    print("go on with: ...")
    sys.exit(130)
sys.exit(int(words[-1]) if words[-1].isdigit() else 0)
"""


@dataclass
class Checkout:
    """A copy of the shells around a stand-in pipeline, with a PATH that holds nothing else."""

    root: Path
    bin: Path
    env: dict[str, str]

    @property
    def venv(self) -> Path:
        return self.root / ".venv"

    def add(self, name: str, text: str) -> Path:
        path = self.bin / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
        return path

    def run(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        return self.shell("bash", 'exec bash "$HOME/"*check*out*/run_all.sh "$@"', *words, **env)

    def shell(self, shell: str, script: str, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        options = ["--norc"] if shell == "bash" else ["-f"]
        command = [str(self.bin / shell), *options, "-c", script, shell, *words]
        return subprocess.run(
            command, env=self.env | env, cwd=self.root.parent, text=True, capture_output=True, stdin=subprocess.DEVNULL
        )

    def log(self) -> list[str]:
        """The stand-ins' calls since the last look."""
        path = Path(self.env["LOG"])
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    root = tmp_path / 'it\'s a "check out"'
    for name in (*COPIED, "pyproject.toml", "environment.yml"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, root / name)
    (root / "dnndk_prep").mkdir()
    (root / "dnndk_prep/__main__.py").write_text(PIPELINE)
    # The real requirements are the subject of one test alone.
    set_requirements(root, ["packaging"])
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in (*TOOLS, "basename"):
        if found := shutil.which(tool):
            (tools / tool).symlink_to(found)
    env = {"PATH": str(tools), "HOME": str(tmp_path), "LOG": str(tmp_path / "log"), "CONDAS": str(tmp_path / "condas")}
    made = Checkout(root, tools, env)
    env["STANDIN_PYTHON"] = str(made.add("../stand-in-python", PYTHON))
    return made


@pytest.fixture
def with_python(checkout: Checkout) -> Checkout:
    checkout.add(NAME, PYTHON)
    return checkout


@pytest.fixture(params=["bash", "zsh"])
def shell(request: pytest.FixtureRequest) -> str:
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return str(request.param)


def set_requirements(root: Path, needs: list[str]) -> None:
    text = f'[project]\ndependencies = {json.dumps(needs)}\n[project.optional-dependencies]\ndev = ["pytest"]\n'
    (root / "pyproject.toml").write_text(text)


def reached(done: subprocess.CompletedProcess[str]) -> dict[str, object]:
    """What the stand-in pipeline was called with."""
    lines = [line for line in done.stdout.splitlines() if line.startswith("PIPELINE ")]
    assert len(lines) == 1, done.stdout + done.stderr
    found: dict[str, object] = json.loads(lines[0].removeprefix("PIPELINE "))
    return found


def calls(log: list[str], start: str) -> list[str]:
    return [line for line in log if line.startswith(start)]


def make_environment(checkout: Checkout, prefix: Path) -> Path:
    (prefix / "bin").mkdir(parents=True)
    shutil.copy2(checkout.env["STANDIN_PYTHON"], prefix / "bin/python")
    return prefix


def listing(folder: Path) -> list[tuple[str, bytes]]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and "__pycache__" not in path.parts)
    return [(str(path.relative_to(folder)), path.read_bytes()) for path in files]


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


# --- the calling shell

SNAPSHOTS = {
    "bash": 'snapshot() { set +o; shopt -p; typeset -f; alias; trap; pwd; printf "%s\\n" "$-" "$PATH" "$#" "$*";'
    " (set -o posix; set) | sed -E '/^(_|BASH_[A-Z]+|LINENO|PIPESTATUS|SECONDS|RANDOM|SRANDOM|EPOCH[A-Z]+|FUNCNAME"
    "|BASHPID)=/d'; }",
    "zsh": 'snapshot() { setopt; typeset -f; alias; trap; pwd; printf "%s\\n" "$-" "$PATH" "$#" "$*";'
    " typeset + | sort; }",
}
SETTINGS = {
    "bash": ["", "set -eu -o pipefail -o noclobber; shopt -s nullglob", "set -eET", "set -o posix"],
    "zsh": [
        "",
        "setopt errexit nounset noclobber shwordsplit ksharrays nullglob pipefail",
        "setopt errreturn; emulate ksh",
        "emulate sh; set -e",
    ],
}
CASES = [(shell, setting, 7) for shell, settings in SETTINGS.items() for setting in settings]
CASES += [(shell, settings[1], 0) for shell, settings in SETTINGS.items()]


@pytest.mark.parametrize(("calling", "setting", "code"), CASES)
def test_sourcing_changes_nothing_in_the_caller(with_python: Checkout, calling: str, setting: str, code: int) -> None:
    if shutil.which(calling) is None:
        pytest.skip(f"{calling} is not installed")
    folder = with_python.root.parent / "elsewhere"
    folder.mkdir()
    script = f"""
        {SNAPSHOTS[calling]}
        cd() {{ echo NEVER CALLED; }}; readlink() {{ echo NEVER CALLED; }}
        alias dirname='echo NEVER CALLED'
        CDPATH=/:/usr; export CDPATH; status_of_mine=5
        trap 'echo bye' EXIT; trap 'echo int' INT
        builtin cd "{folder}"
        {setting}
        snapshot >| "$HOME/before"
        source ../"{with_python.root.name.replace('"', chr(92) + '"')}"/run_all.sh "two words" {code}
        echo "status $?"
        snapshot >| "$HOME/after"
        [ "{code}" = 0 ] || case $- in *e*) false; echo "errexit is gone" ;; esac
    """
    done = with_python.shell(calling, script, "mine", "and mine")
    assert f"status {code}" in done.stdout, done.stdout + done.stderr
    assert "errexit is gone" not in done.stdout
    assert "NEVER CALLED" not in done.stdout + done.stderr
    # zsh forgets EXIT traps set before `emulate`, whatever is sourced.
    assert "emulate" in setting or done.stdout.endswith("bye\n")
    call = reached(done)
    assert call["words"][2:] == ["two words", str(code)]  # type: ignore[index]
    assert call["cwd"] == str(folder)
    before, after = (with_python.bin.parent / name for name in ("before", "after"))
    assert len(before.read_text().splitlines()) > 20
    assert after.read_text() == before.read_text()


@pytest.mark.parametrize("errexit", ["set -e", "set +e"])
def test_what_the_caller_exports_for_shells_stays_out(with_python: Checkout, errexit: str) -> None:
    (with_python.bin.parent / "bash_env").write_text("echo NEVER READ; exit 66\n")
    script = f"""
        builtin cd "$HOME/"*check*out*
        mkdir() {{ echo NEVER CALLED; exit 67; }}; sed() {{ mkdir; }}; export -f mkdir sed
        export BASH_ENV="$HOME/bash_env"
        {errexit}
        set -C; export SHELLOPTS
        source run_all.sh 3
        echo "status $?"
    """
    done = with_python.shell("bash", script)
    assert "NEVER" not in done.stdout + done.stderr
    assert "status 3" in done.stdout


def test_guarded_and_nested_sources_under_errexit(with_python: Checkout, shell: str) -> None:
    script = """
        set -eu
        builtin cd "$HOME/"*check*out*
        source run_all.sh 3 || echo "guarded $?"
        inner() { source ./run_all.sh 4; }
        inner
        echo "inner $?"
        ( set -e; source run_all.sh 5; echo "subshell $?" )
        case $- in *e*) echo "still on" ;; esac
        false
        echo "errexit is gone"
    """
    done = with_python.shell(shell, script)
    lines = [line for line in done.stdout.splitlines() if not line.startswith("PIPELINE")]
    assert lines == ["guarded 3", "inner 4", "subshell 5", "still on"], done.stderr
    assert done.returncode == 1


def test_failing_set_up_leaves_the_shell_open(checkout: Checkout, shell: str) -> None:
    done = checkout.shell(shell, 'set -e; builtin cd "$HOME/"*check*out*; source run_all.sh; echo "open $?"')
    assert done.stdout == "open 1\n"
    assert done.returncode == 0


@pytest.mark.parametrize("code", [0, 7])
def test_executed_instead_of_sourced(with_python: Checkout, shell: str, code: int) -> None:
    script = f'{shell} "$HOME/"*check*out*/run_all.sh {code}'
    assert with_python.shell(shell, script).returncode == code


def test_found_through_a_symbolic_link(with_python: Checkout, shell: str) -> None:
    (with_python.root.parent / "link.sh").symlink_to(with_python.root / "run_all.sh")
    done = with_python.shell(shell, 'builtin cd "$HOME"; source ./link.sh')
    assert reached(done)["words"] == ["run", f"{with_python.root}/pipeline.yaml"]


def test_files_in_the_callers_folder_are_not_imported(with_python: Checkout, tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong json')")
    reached(with_python.run())


def test_interrupt_in_an_interactive_shell(with_python: Checkout, shell: str) -> None:
    words = ["bash", "--norc", "-i"] if shell == "bash" else ["zsh", "-f", "-i"]
    with Terminal(with_python, words) as terminal:
        terminal.write('builtin cd "$HOME/"*check*out*; set -e\n')
        terminal.write("source run_all.sh --sleep\n")
        terminal.until("PIPELINE {")
        terminal.write("\x03")
        terminal.until("go on with")
        terminal.write('echo "open:$?:$-"\n')
        shown = terminal.until("open:130:").rsplit("open:130:", 1)[1] + terminal.until("\n")
        assert "e" in shown.split("\r")[0]


# --- scripts/test


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "python -m pytest -m not slow"),
        (["tests/unit", "-x"], "python -m pytest -m not slow tests/unit -x"),
        (["all"], "python -m pytest"),
        (["all", "-x"], "python -m pytest -x"),
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


class Terminal:
    """bash, or `words`, on a pseudo-terminal."""

    def __init__(self, checkout: Checkout, words: list[str], **env: str) -> None:
        command = words if words[0] in ("bash", "zsh") else ["bash", *words]
        self.shown = ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(checkout.root.parent)
            os.execve(str(checkout.bin / command[0]), command, checkout.env | env | {"TERM": "dumb"})

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)
        os.waitpid(self.pid, 0)

    def write(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def until(self, word: str, seconds: float = 20) -> str:
        """All that was shown up to and with `word`; what comes after it is left for the next call."""
        end = time.monotonic() + seconds
        while word not in self.shown and time.monotonic() < end:
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    self.shown += os.read(self.fd, 4096).decode(errors="replace")
                except OSError:
                    break
        assert word in self.shown, self.shown
        before, _, self.shown = self.shown.partition(word)
        return before + word
