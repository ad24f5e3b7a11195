"""A registered trainer without torch: a known surface over three parameters, a millisecond an epoch.

It keeps the whole contract (checkpoints before reports, history on resume, receipts), so that the
harness can be tested at its real seams. Faults are asked for in the spec: `fault.kind` in trial
`fault.trial` after epoch `fault.epoch`; or several in `fault.kind` alone, as `raise@3:2 nan@5:1`
(kind, trial, epoch).
"""

from __future__ import annotations

import json
import math
import os
import random
import signal
import time
from pathlib import Path

NAME = "tests.quick_trainer:TRAINER"
os.environ.setdefault("HPO_TRAINER_MODULES", "tests")  # also for scripts that run outside pytest
DEFAULTS = json.loads(
    (Path(__file__).parent / "quick_skill/schemas/train.schema.json").read_text()
)["default"]


def peak(params: dict) -> float:
    """The value a trial converges to: at most 1, at lr 1e-2, margin 0.5, width 200."""
    away = (
        math.log10(params["lr"] / 1e-2) ** 2 / 4
        + (params["margin"] - 0.5) ** 2
        + math.log(params["width"] / 200) ** 2 / 20
    )
    return math.exp(-away)


def value_at(params: dict, epoch: int, seed: int) -> float:
    """The learning curve: rises towards the peak, with a little noise that depends on seed and epoch."""
    noise = random.Random(f"{seed}-{epoch}-{params}").gauss(0.0, 0.002)
    return peak(params) * (1 - math.exp(-epoch / 3)) + noise


def fault_at(spec, trial, epoch):
    """The kind of fault that is asked for in this trial and epoch, or an empty string."""
    fault = spec["fault"]
    if "@" not in fault["kind"]:
        return fault["kind"] if (fault["trial"], fault["epoch"]) == (trial, epoch) else ""
    asked = dict(reversed(word.split("@")) for word in fault["kind"].split())
    return asked.get(f"{trial}:{epoch}", "")


class SpecTrouble(Exception):
    kind = "spec"


class QuickTrainer:
    name = "quick"
    skill_dir = Path(__file__).parent / "quick_skill"
    monitoring_metric = "val_precision_at_1"
    direction = "maximize"
    epochs_key = "train.num_epochs"
    seed_key = "train.seed"
    multiple_of = {}
    restart_keys = ("train.width",)

    def validate(self, spec):
        full = json.loads(json.dumps(DEFAULTS))
        for section, values in spec.items():
            if section not in full:
                raise SpecTrouble(f"{section}: unknown key; known are {', '.join(full)}")
            if isinstance(values, dict):
                for key, value in values.items():
                    if key not in full[section]:
                        raise SpecTrouble(f"{section}.{key}: unknown key")
                    full[section][key] = value
            else:
                full[section] = values
        return full

    def inactive(self, spec):
        return {}

    def limits(self, spec):
        return {}

    def data_overrides(self, sources):
        return {f"data.{k}": v for k, v in sources.items() if k in ("train", "reference", "query")}

    def split_data(self, folder, out, *, seed, class_disjoint):  # knows of no groups
        return {k: f"{folder}/{k}" for k in ("train", "reference", "query")}

    def demo_data(self, folder, seed):
        return {"train": "t", "reference": "r", "query": "q", "test_query": "tq"}

    def inspect_data(self, spec):
        return {"splits": {"train": {"images": 10, "classes": 2}}, "findings": []}

    def stage(self, source):
        return Path(source)

    def prepare(self, spec, progress=None):
        pass

    def probe(self, spec):
        fault = spec.get("fault", DEFAULTS["fault"])["kind"]
        if fault == "probe_raises":
            raise RuntimeError("the probe broke on purpose")
        if fault == "probe_dies":
            os.kill(os.getpid(), signal.SIGKILL)
        return {"seconds_per_epoch": 0.001, "images_per_s": 1000.0, "peak_memory_mib": 1.0}

    def fit(self, spec, report, resume_from=None, start_epoch=None, progress=None):
        folder = Path(spec["results_dir"])
        number = int(folder.name)
        params = {k: spec["train"][k] for k in ("lr", "margin", "width")}
        self._sign_in(folder)
        applied = {f"train.{k}": v for k, v in params.items()}
        if spec["fault"]["kind"] == "wrong_receipt" and number == spec["fault"]["trial"]:
            applied["train.lr"] = 0.5
        receipt = {"applied": applied, "device": "cpu"}
        history = json.loads(Path(resume_from).read_text())["history"] if resume_from else []
        if start_epoch is not None:  # another trial's, and of this very epoch
            assert len(history) == start_epoch, (resume_from, len(history), start_epoch)
        for line in history if start_epoch is None else []:
            if not report({**line, "replayed": True, "receipt": receipt}):
                return receipt
        for epoch in range(len(history) + 1, spec["train"]["num_epochs"] + 1):
            time.sleep(spec["fault"]["sleep"])
            value = value_at(params, epoch, spec["train"]["seed"])
            history.append({"epoch": epoch, "value": value, "metrics": {}, "seconds": 0.5})
            self._save(folder, history)
            with (folder / "trained.txt").open("a") as stream:
                stream.write(f"{epoch}\n")
            line = dict(history[-1], receipt=receipt)
            if spec["fault"]["kind"] == "always_raise":
                raise RuntimeError("nothing works on purpose")
            fault = fault_at(spec, number, epoch)
            if not report(self._fail(fault, folder, line)) and fault != "deaf":
                break
        (folder / "ended.txt").touch()
        return receipt

    def _sign_in(self, folder):
        """Say which process trains here, and what it was given."""
        seen = {
            "pid": os.getpid(),
            "omp": os.environ.get("OMP_NUM_THREADS"),
            "devices": os.environ.get("CUDA_VISIBLE_DEVICES"),
            "began": time.time(),
        }
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "workers.ndjson").open("a") as stream:
            stream.write(json.dumps(seen) + "\n")
        print(f"worker {seen['pid']} trains {folder.name}")

    def _save(self, folder, history):
        (folder / "ckpt").mkdir(parents=True, exist_ok=True)
        for name in ("last.ckpt", "best.ckpt"):
            draft = folder / "ckpt" / f".{name}"
            draft.write_text(json.dumps({"history": history}))
            draft.replace(folder / "ckpt" / name)

    def _fail(self, kind, folder, line):
        once = folder / "failed_once"
        if kind == "nan":
            return {**line, "value": float("nan")}
        if kind == "kill_worker_always" or (kind == "kill_worker" and not once.exists()):
            once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if kind == "raise":
            raise RuntimeError("the loss exploded on purpose")
        if kind == "oom":
            raise MemoryError("out of memory on purpose")
        return line

    def evaluate(self, spec):
        return {"metrics": {"val_precision_at_1": 0.5}, "hits": []}

    def export(self, spec):
        print("the exporter has a lot to say")
        os.write(1, b"and its C code too\n")
        target = Path(spec["export"]["onnx_file"])
        if spec["fault"]["kind"] == "no_onnx":
            return {}
        target.write_bytes(Path(spec["export"]["checkpoint"]).read_bytes())
        return {"onnx": str(target), "num_images_checked": 1}

    def predict(self, folder, images, topk):
        print("the runtime greets you")
        return [{"image": str(i), "labels": ["a"], "distances": [0.0]} for i in images]


TRAINER = QuickTrainer()
