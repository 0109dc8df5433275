#!/usr/bin/env bash
# The day a GPU is at hand: tests, laws, and times at the shape of LLaMA-3.2-1B, in less than eight minutes.
#     bash scripts/gpu_check.sh [--out gpu-check.json] [--try]
# Installs nothing: it runs in the environment that is active. --try does the same on the CPU with a miniature.
set -euo pipefail
cd "$(dirname "$0")/.."
export HF_HUB_OFFLINE=1 PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
exec "$(command -v python || command -v python3)" scripts/gpu_check.py "$@"
