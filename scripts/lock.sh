#!/bin/sh
# Recompile the locks from requirements/*.in. One file serves Linux, macOS, Windows and Python 3.11 to 3.13.
set -eu
cd "$(dirname "$0")/../requirements"
compile() { uv pip compile --universal --python-version 3.11 --no-header --no-emit-index-url --no-emit-find-links --quiet "$@"; }
compile cpu.in --override overrides.txt --override overrides-cpu.txt -o cpu.txt
compile cuda.in --override overrides.txt -o cuda.txt
compile dev.in -c cpu.txt -o dev.txt
compile ray.in -c cpu.txt -o ray.txt
