"""What a skill's command does, without torch: reads the spec, writes what the action promises."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import yaml


def put(path, text="x"):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)


def train(spec):
    folder = Path(spec["results_dir"]) / "train"
    start = spec["train"].get("resume_training_checkpoint_path") or ""
    first = json.loads(Path(start).read_text())["epoch"] + 1 if start else 1
    fault = os.environ.get("FAKE_FAULT", "")
    for epoch in range(first, spec["train"]["num_epochs"] + 1):
        put(folder / "ckpt" / "last.ckpt", json.dumps({"epoch": epoch}))
        if epoch <= 2:
            put(folder / "ckpt" / "best.ckpt", json.dumps({"epoch": epoch}))
        with (folder / "status.jsonl").open("a") as stream:
            stream.write(json.dumps({"epoch": epoch, "value": 0.9 - abs(epoch - 2) / 10}) + "\n")
        print(f"epoch {epoch}", file=sys.stderr, flush=True)
        if fault == "hang":
            time.sleep(60)
        if fault == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "user":
            print("ml_recog train: error: dataset: no such pictures", file=sys.stderr)
            raise SystemExit(2)
    print("best_value: 0.9")
    print(f"started_from: {start or 'nothing'}")


def evaluate(spec):
    own = spec["evaluate"]
    model = own.get("trt_engine") or own["checkpoint"]
    assert Path(model).is_file(), model
    put(Path(spec["results_dir"]) / "evaluate" / "evaluation.json", "{}")
    print("metrics.val_precision_at_1: 0.5")


def inference(spec):
    own = spec["inference"]
    assert Path(own.get("trt_engine") or own["checkpoint"]).is_file()
    assert Path(own["input_path"]).exists()


def export(spec):
    put(spec["export"]["onnx_file"], Path(spec["export"]["checkpoint"]).read_text())


def gen_trt_engine(spec):
    own = spec["gen_trt_engine"]
    put(own["trt_engine"], Path(own["onnx_file"]).read_text())
    put(own["tensorrt"]["calibration"]["cal_cache_file"])


if __name__ == "__main__":
    print("ready", file=sys.stderr, flush=True)
    globals()[sys.argv[1]](yaml.safe_load(Path(sys.argv[3]).read_text()))
