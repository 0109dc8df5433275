#!/usr/bin/env bash
# The checks that a change must pass: style, types, tests.
#     bash scripts/test.sh [arguments of pytest]
source "$(dirname "$0")/install.sh"
install test
export HF_HUB_OFFLINE=1 # a test that reaches for a hub is a bug
ruff check .
ruff format --check .
basedpyright
python -m pytest "$@"
