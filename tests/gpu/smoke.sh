#!/usr/bin/env bash
# Eight trials, two at a time on one card, and what they cost: device names from the receipts, peak memory, images/s.
# One call on a machine with a CUDA GPU: bash tests/gpu/smoke.sh [FOLDER]
#
# With Ray installed the search runs as users run it. Without Ray two searches of four trials share the card, each in its
# own process. Then the trainer's throughput in fp32 and bf16 is measured. Everything lands in FOLDER (default: a new one).
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
out=${1:-$(mktemp -d)}
mkdir -p "$out"
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} HPO_CACHE_DIR=${HPO_CACHE_DIR:-$out/cache}

"$python" - <<'PY'
import sys
import torch
if not torch.cuda.is_available():
    sys.exit("tests/gpu/smoke.sh: needs a CUDA GPU, and torch sees none here")
print(f"torch {torch.__version__} on {torch.cuda.get_device_name(0)}")
PY

common=(--set model.backbone=resnet_50 --set model.input_height=128 --set model.input_width=128
        --set train.num_epochs=4 --set train.precision=bf16 --yes --out "$out/runs")
if "$python" -c "import ray" 2>/dev/null; then
  "$python" -m hpo.cli.main search --budget 8 --concurrent 2 --name smoke "${common[@]}"
  # As many on the card as fit by what one takes; the receipts tell each one's limit and card.
  "$python" -m hpo.cli.main search --budget 8 --trials-per-gpu auto --name packed "${common[@]}"
else
  echo "Ray is not installed: two searches of four trials share the card"
  pids=()
  for seed in 0 1; do
    "$python" -m hpo.cli.main search --in-process --budget 4 --seed "$seed" --name "smoke-$seed" "${common[@]}" &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid"; done
fi
"$python" tests/gpu/summary.py "$out/runs"
"$python" tests/gpu/neighbours.py
"$python" tests/benchmarks/trainer_throughput.py --trunks resnet_50@224 timm/resnet18@112 --batch 64 \
  --json "$out/throughput.json"
"$python" tests/gpu/sharing.py --json "$out/sharing.json"
"$python" tests/gpu/search_backends.py --json "$out/search_backends.json"
echo "results in $out"
