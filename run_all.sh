# Set everything up and run pipeline.yaml:
#
#     source run_all.sh [ARGUMENTS OF `dnndk-prep run`]     in bash or zsh; `bash run_all.sh` works too
#
# All work is done by a child process, so that nothing of the calling shell changes: no option, folder, variable,
# function or trap. `bash -p` keeps what the caller exports for shells (functions, BASH_ENV, SHELLOPTS, CDPATH) out of it.
# For the same reason no variable is set here.
#
# A caller under `set -e` stays open, too; `$?` tells. In zsh a list that fails before its last `&&` does not count as a
# failure, even through `source`. In bash it does: errexit is off while `source` returns, and a trap on DEBUG, which
# bash runs before any next command, turns it on again (its first run, before `return`, only arms the second).
if [ -n "${BASH_VERSINFO:-}" ]; then
    case $- in
    *e*)
        command bash -p -- "$(command dirname -- "$(command readlink -f -- "${BASH_SOURCE[0]}")")/scripts/_run_all" "$@" ||
            eval "set +e; trap \"trap 'set -e; trap - DEBUG' DEBUG\" DEBUG; return $? 2>/dev/null || exit $?"
        ;;
    *)
        # Where the file was not sourced, `return` fails and `exit` ends the script.
        command bash -p -- "$(command dirname -- "$(command readlink -f -- "${BASH_SOURCE[0]}")")/scripts/_run_all" "$@" ||
            eval "return $? 2>/dev/null || exit $?"
        ;;
    esac
else
    # In eval: bash could not expand zsh's words for the path of this file.
    eval 'case x in (x) command bash -p -- "${${(%):-%x}:A:h}/scripts/_run_all" "$@" && : ;; esac'
fi
