#!/usr/bin/env bash
# What only a machine with an NVIDIA card can show, within eight minutes on one card: tests/gpu/smoke.py lists the steps.
#
#   bash tests/gpu/smoke.sh [FOLDER]      (default: build/gpu_smoke; a second call goes on where the first one ended)
#
# FOLDER then holds result.json and table.md. PYTHON names the interpreter. Packages that the machine lacks can be brought in
# a folder (default: build/gpu_packages, see docs/performance.md); a step without its packages is skipped and says so.
set -euo pipefail
cd "$(dirname "$0")/../.."
packages=${SMOKE_PACKAGES:-$PWD/build/gpu_packages}
export PYTHONPATH=$PWD:$packages${PYTHONPATH:+:$PYTHONPATH}
exec "${PYTHON:-python3}" -m tests.gpu.smoke --out "${1:-build/gpu_smoke}"
