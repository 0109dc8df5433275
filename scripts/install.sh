# Sourced by demo.sh and test.sh: `install EXTRA` makes .venv, or leaves it alone if it holds what is asked for.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

install() {
    local extra=$1 python stamp wanted
    python=${PYTHON:-python3}
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
        echo "error: Python 3.11 or newer is needed, found $("$python" --version 2>&1); set PYTHON to another one" >&2
        exit 1
    }
    [ -x .venv/bin/python ] || "$python" -m venv .venv
    wanted=$(cat pyproject.toml constraints.txt | .venv/bin/python -c \
        'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())')
    stamp=.venv/.installed${extra:+-$extra}
    if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
        echo "installing into .venv (a few minutes the first time)" >&2
        # torch first and by its exact version: a range would let pip choose a build of several gigabytes.
        .venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
            "$(grep '^torch==' constraints.txt)"
        .venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".${extra:+[$extra]}"
        echo "$wanted" >"$stamp"
    fi
    export PATH="$PWD/.venv/bin:$PATH"
}
