# shellcheck shell=bash
# Finds or makes the Python environment of this checkout. For bash scripts under `set -euo pipefail` to source:
#
#     environment_ready run|dev     sets PYTHON, the words that start the environment's Python
#
# In this order: the conda environment that DNNDK_PREP_ENV names; an environment that is active (never altered without
# asking; conda's `base`, active in most shells with conda, does not count); the conda environment of environment.yml;
# .venv in the checkout. A stamp inside the last two tells a later run that there is nothing to set up.

CHECKOUT=$(builtin cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.." && pwd -P)
PYTHONS=(python3.13 python3.12 python3.11)
PYTHON=()
# Also where the package is not installed, or its checkout was moved since.
export PYTHONPATH="$CHECKOUT${PYTHONPATH:+:$PYTHONPATH}"

say() {
    printf '%s\n' "$*" >&2
}

refuse() {
    say "error: $*"
    exit 1
}

environment_ready() {
    WANTED=$1
    local active conda
    active=$(_active_environment)
    if [[ -n ${DNNDK_PREP_ENV:-} && ${DNNDK_PREP_ENV} != "${CONDA_DEFAULT_ENV:-}" ]]; then
        conda=$(_find_conda) ||
            refuse "DNNDK_PREP_ENV names the conda environment $DNNDK_PREP_ENV, but there is no conda: unset it or install conda"
        _use_conda "$conda" "$DNNDK_PREP_ENV"
    elif [[ -n $active ]]; then
        _use_theirs "$active"
    elif conda=$(_find_conda); then
        _use_conda "$conda" "$(sed -n 's/^name: *//p' "$CHECKOUT/environment.yml")"
    else
        _use_venv "$CHECKOUT/.venv"
    fi
}

_active_environment() {
    if [[ -n ${VIRTUAL_ENV:-} ]]; then
        printf '%s' "$VIRTUAL_ENV"
    elif [[ -n ${CONDA_PREFIX:-} && ${CONDA_DEFAULT_ENV:-} != base ]]; then
        printf '%s' "$CONDA_PREFIX"
    fi
}

# Where conda is a shell function alone, its set-up exports CONDA_EXE.
_find_conda() {
    type -P conda && return
    [[ -x ${CONDA_EXE:-} ]] && printf '%s\n' "$CONDA_EXE"
}

# An environment of the user's.
_use_theirs() {
    local prefix=$1 unmet
    PYTHON=("$prefix/bin/python")
    [[ -n $(_version "${PYTHON[0]}") ]] ||
        refuse "the environment $prefix has no Python that runs: deactivate it and run this again"
    _is_supported "${PYTHON[0]}" ||
        refuse "the environment $prefix has Python $(_version "${PYTHON[0]}"), but one of ${PYTHONS[*]} is needed:" \
            "deactivate it and run this again, and an environment is made"
    unmet=$(_requirements "${PYTHON[0]}" unmet "$WANTED") && return
    _consent "$prefix" "$unmet"
    _install "$prefix"
}

_use_venv() {
    local venv=$1 lock=
    PYTHON=("$venv/bin/python")
    _is_stamped "$venv" && return
    # Two first runs at once: the second waits, and finds it made.
    if type -P flock >/dev/null; then
        exec {lock}>|"$venv.lock"
        flock -n "$lock" || { say "Another run makes $venv; waiting for it ..." && flock "$lock"; }
    fi
    _is_stamped "$venv" || _make_venv "$venv"
    [[ -z $lock ]] || exec {lock}>&-
}

_make_venv() {
    local venv=$1 unfinished=$1/dnndk_prep.unfinished
    if [[ -e $venv || -L $venv ]] && { [[ -e $unfinished ]] || ! _can_make_environments "${PYTHON[0]}"; }; then
        say "$venv was not finished or does not run: it is made anew"
        rm -rf -- "$venv"
    fi
    if [[ ! -e $venv ]]; then
        _find_python
        say "Making $venv with $FOUND_PYTHON ..."
        mkdir -- "$venv"
        : >|"$unfinished"
        "$FOUND_PYTHON" -m venv "$venv"
    fi
    : >|"$unfinished"
    _install "$venv"
    _stamp "$venv"
    rm -f -- "$unfinished"
}

_use_conda() {
    local conda=$1 name=$2 prefix
    prefix=$(_conda_prefix "$conda" "$name")
    if [[ -n $prefix && $name == "${DNNDK_PREP_ENV:-}" && ! -e $prefix/dnndk_prep-run.stamp ]]; then
        _use_theirs "$prefix"
    elif [[ -z $prefix ]] || ! _is_stamped "$prefix"; then
        _set_up_conda "$conda" "$name" "$prefix"
    fi
    PYTHON=("$conda" run -n "$name" --no-capture-output python)
}

_set_up_conda() {
    local conda=$1 name=$2 prefix=$3
    if [[ -z $prefix ]]; then
        say "Making the conda environment $name ... (some minutes)"
        _conda_env "$conda" create "$name"
        prefix=$(_conda_prefix "$conda" "$name")
        [[ -n $prefix ]] || refuse "conda made the environment $name, but does not list it"
    else
        say "Updating the conda environment $name ..."
        _conda_env "$conda" update "$name"
    fi
    if [[ $WANTED != run ]]; then
        PYTHON=("$conda" run -n "$name" --no-capture-output python)
        _install "$prefix"
    fi
    _stamp "$prefix"
}

# The folder of a conda environment; nothing where there is none. A line: name, perhaps marks, path.
_conda_prefix() {
    local first rest
    "$1" env list | while read -r first rest; do
        if [[ $first == "$2" && $rest == */* ]]; then printf '/%s' "${rest#*/}"; fi
    done
}

# In the checkout: `-e .` in environment.yml is relative.
_conda_env() {
    (builtin cd -- "$CHECKOUT" && "$1" env "$2" --quiet -n "$3" -f environment.yml) </dev/null ||
        refuse "conda could not $2 the environment $3 (see above); run this again when the cause is gone"
}

_install() {
    local what=$CHECKOUT
    [[ $WANTED == run ]] || what+="[$WANTED]"
    say "Installing the project and its requirements into $1 ... (the first time: some minutes)"
    "${PYTHON[@]}" -m pip install --disable-pip-version-check --progress-bar off -e "$what" </dev/null | _progress ||
        refuse "pip could not install the requirements (see above); run this again when the cause is gone"
}

# pip's lines, each over the one before; pip's errors and warnings go past this.
_progress() {
    local line
    while IFS= read -r line; do
        if [[ -t 2 ]]; then printf '\r\033[K%.76s' "$line" >&2; fi
    done
    if [[ -t 2 ]]; then printf '\r\033[K' >&2; fi
}

# What `dev` installs holds what `run` does.
_stamp() {
    local key
    key=$(_requirements "$1/bin/python" key)
    printf '%s\n' "$key" >|"$1/dnndk_prep-run.stamp"
    [[ $WANTED == run ]] || printf '%s\n' "$key" >|"$1/dnndk_prep-$WANTED.stamp"
}

_is_stamped() {
    local stamp=$1/dnndk_prep-$WANTED.stamp
    [[ -f $stamp && ! -e $1/dnndk_prep.unfinished && $(<"$stamp") == "$(_requirements "$1/bin/python" key 2>/dev/null)" ]]
}

_requirements() {
    "$1" "$CHECKOUT/scripts/_requirements.py" "${@:2}"
}

_consent() {
    local answer=
    say "The environment $1 lacks what the project needs:"
    say "$2"
    if [[ -t 0 && -t 2 ]]; then
        read -r -p "Install it there with pip? [y/N] " answer || true
    fi
    [[ $answer == [yY]* ]] || refuse "$1 was left as it is. Deactivate it (or unset DNNDK_PREP_ENV), and an environment is made;" \
        "or install what is missing yourself: '$1/bin/python' -m pip install -e '$CHECKOUT'"
}

# Sets FOUND_PYTHON. pyenv's shims refuse versions that are not selected, so its versions are looked at, too.
_find_python() {
    local name path pyenv_root without_venv=
    pyenv_root=$(pyenv root 2>/dev/null) || pyenv_root=/nonexistent
    for name in "${PYTHONS[@]}"; do
        while IFS= read -r path; do
            [[ "python$(_version "$path")" == "$name" ]] || continue
            FOUND_PYTHON=$path
            if _can_make_environments "$path"; then return; fi
            without_venv=$path
        done < <(type -ap "$name" || true; compgen -G "$pyenv_root/versions/${name#python}.*/bin/$name" || true)
    done
    [[ -z $without_venv ]] || say "$without_venv is there, but lacks venv, ensurepip or ssl."
    refuse "no Python 3.13, 3.12 or 3.11 that can make an environment was found. Install one and run this again:
  Debian, Ubuntu   sudo apt install python3 python3-venv   (Debian 12 and later, Ubuntu 24.04 and later)
  Fedora           sudo dnf install python3.12
  anywhere         conda (https://conda-forge.org/download): with it on PATH, the environment is made with conda"
}

# Nothing where it does not run.
_version() {
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true
}

_is_supported() {
    [[ " ${PYTHONS[*]} " == *" python$(_version "$1") "* ]]
}

_can_make_environments() {
    _is_supported "$1" && "$1" -c 'import ensurepip, ssl, venv' 2>/dev/null
}
