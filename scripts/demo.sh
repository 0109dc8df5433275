#!/usr/bin/env bash
# Everything on the built-in model, from nothing but Python: environment, three experiments, pictures.
#     bash scripts/demo.sh [options of `mechpatch demo`]
source "$(dirname "$0")/install.sh"
install ""
exec mechpatch demo "$@"
