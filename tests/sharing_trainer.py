"""The trainer without torch, which also keeps what it was told of its GPU in its receipt."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from tests.quick_trainer import QuickTrainer

NAME = "tests.sharing_trainer:TRAINER"


def gather(folder, number):
    """Wait until so many trials have begun: they run at the same time, however slow the machine."""
    until = time.monotonic() + 120.0
    while len(list(folder.parent.glob("*/workers.ndjson"))) < number:
        assert time.monotonic() < until, "the others have not come"
        time.sleep(0.05)
    return True


class SharingTrainer(QuickTrainer):
    share = None

    def limit_memory(self, share):
        self.share = share

    def probe(self, spec):
        return super().probe(spec) | {"omp": os.environ.get("OMP_NUM_THREADS")}

    def _sign_in(self, folder):
        """Also say which of Ray's nodes this is: a worker's parent is its node's raylet."""
        super()._sign_in(folder)
        file = folder / "workers.ndjson"
        *lines, last = file.read_text().splitlines()
        lines.append(json.dumps(json.loads(last) | {"raylet": os.getppid()}))
        file.write_text("\n".join(lines) + "\n")

    def fit(self, spec, report, resume_from=None, start_epoch=None):
        seen = {
            "visible_devices": os.environ.get("CUDA_VISIBLE_DEVICES"),
            "memory_share": self.share,
            "pid": os.getpid(),
        }

        gathered = spec["fault"]["kind"] != "gather"

        def report_with_place(line):
            nonlocal gathered
            gathered = gathered or gather(Path(spec["results_dir"]), spec["fault"]["trial"])
            if "receipt" in line:
                line = {**line, "receipt": {**line["receipt"], **seen}}
            return report(line)

        receipt = super().fit(spec, report_with_place, resume_from, start_epoch)
        if spec["fault"]["kind"] == "writes_late":
            folder = Path(spec["results_dir"])
            # The last trial longer than Tune waits for by itself.
            time.sleep(11.0 if int(folder.name) == spec["fault"]["trial"] else 1.0)
            (folder / "written.txt").write_text((folder / "trained.txt").read_text())
        return receipt | seen


TRAINER = SharingTrainer()
