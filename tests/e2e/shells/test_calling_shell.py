"""run_all.sh sourced in bash and zsh: the calling shell keeps everything, and `$?` tells."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from standins import (
    Checkout,
    Terminal,
    reached,
)

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
