#!/bin/sh
# Usage: tools/install.sh run|dev|bench|detoxify|detoxify-onnx VENV      (called by make, which knows when it is needed)
#
# Makes the virtual environment VENV and installs one of the locks into it, then this project in place.
# Plain sh, Python and its own pip; every download is checked against the hashes in requirements/.
# PYTHON names the interpreter to use; otherwise the first on PATH that is new enough is taken.
set -eu

level=$1
venv=$2

fail() {
    printf '\n' >&2
    printf '%s\n' "$@" >&2
    exit 1
}

new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
    for name in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 python}; do
        if new_enough "$name"; then
            echo "$name"
            return
        fi
    done
    found=$( { ${PYTHON:-python3} --version || echo "no ${PYTHON:-python3}"; } 2>&1 | tail -n 1)
    fail "Python 3.11 or newer is needed; here is: $found." \
        "Install one (Debian and Ubuntu: apt install python3 python3-venv; macOS: brew install python), or name one: make install PYTHON=/path/to/python3"
}

if [ ! -x "$venv/bin/python" ] || ! new_enough "$venv/bin/python"; then
    python=$(find_python)
    if ! "$python" -c 'import venv, ensurepip' >/dev/null 2>&1; then
        fail "$("$python" --version) is here, but without its venv module." \
            "Install it (Debian and Ubuntu: apt install python3-venv), then run make again."
    fi
    echo "making $venv with $("$python" --version)"
    "$python" -m venv --clear "$venv" || fail "$python could not make $venv; what it said is above."
fi

case $level in
run) echo "installing what the server needs" ;;
dev) echo "installing what the server, its tests and its checks need" ;;
bench) echo "installing what moderation is compared with" ;;
detoxify) echo "installing Detoxify, torch and what their tests need" ;;
detoxify-onnx) echo "installing what an exported Detoxify model needs" ;;
*) fail "run, dev, bench, detoxify or detoxify-onnx, not $level" ;;
esac

# The first line takes nothing that the lock does not name with its hash, the second takes nothing at all.
pip() {
    "$venv/bin/python" -m pip --disable-pip-version-check --quiet "$@"
}
if [ "$level" = detoxify ]; then
    torch="--requirement requirements/torch.txt"
fi
# shellcheck disable=SC2086
pip install --require-hashes --requirement "requirements/$level.txt" ${torch-} ||
    fail "The packages could not be installed; what pip said is above. It needs a package index it can reach."
pip install --no-index --no-deps --no-build-isolation --editable . ||
    fail "The project itself could not be installed; what pip said is above."

touch "$venv/.run"
if [ "$level" != run ]; then
    touch "$venv/.$level"
fi
