#!/usr/bin/env bash
# The checks that a change must pass: style, types, tests.
#     bash scripts/test.sh [--fast] [arguments of pytest]
# --fast leaves out tests that take long or need a browser, and types: what is left takes 80 seconds.
source "$(dirname "$0")/install.sh"
install test
fast=
if [ "${1:-}" = --fast ]; then
    fast=yes
    shift
fi
# Reports are tested in a real browser; without one those tests are skipped, with the reason.
if [ -z "$fast" ] && ! command -v chromium chromium-browser google-chrome >/dev/null; then
    if [ -n "${CI:-}" ] && command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
        { apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium; } >/dev/null 2>&1 ||
            echo "chromium could not be installed; the tests that need it will be skipped" >&2
    else
        echo "no chromium is installed, so the tests of pages are skipped (Debian: apt-get install chromium)" >&2
    fi
fi
export HF_HUB_OFFLINE=1 # a test that reaches for a hub is a bug
ruff check .
ruff format --check .
if [ -n "$fast" ]; then
    # Ignored rather than deselected: what is not collected is not imported either.
    mapfile -t slow < <(sed 's|.*|--ignore=tests/&.py|' tests/slow.txt)
    exec python -m pytest "${slow[@]}" -m "not browser" "$@"
fi
basedpyright
python -m pytest "$@"
