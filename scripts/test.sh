#!/usr/bin/env bash
# The checks that a change must pass: style, types, tests.
#     bash scripts/test.sh [arguments of pytest]
source "$(dirname "$0")/install.sh"
install test
# Reports are tested in a real browser; without one those tests are skipped, with the reason.
if ! command -v chromium chromium-browser google-chrome >/dev/null && command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    echo "installing Debian's chromium for the tests of reports" >&2
    { apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium; } >/dev/null 2>&1 ||
        echo "chromium could not be installed; the tests that need it will be skipped" >&2
fi
export HF_HUB_OFFLINE=1 # a test that reaches for a hub is a bug
ruff check .
ruff format --check .
basedpyright
python -m pytest "$@"
