"""A program, not a test: mixed load on `hpo serve`, with kill -9 in between.

    python tests/benchmarks/serve_load.py --run runs/retail/... --photos PHOTOS --minutes 30

Threads label photographs, add pictures to classes of their own and take them out. Every so often
the server is killed and started again; then, and at the end, every change that was answered must be
there. Prints p50, p95 and p99 of each kind of request, and the server's memory along the way. The
run's gallery is changed: give a copy.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import requests
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
SHARES = {"label": 0.7, "add": 0.22, "remove": 0.08}


def main(argv: Sequence[str] | None = None) -> int:
    """Put load on the server; 1 where an answered change was lost."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True, help="folder of pictures to label")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--kill-every", type=float, default=60.0, help="seconds between two kills")
    parser.add_argument("--threads", type=int, default=6)
    args = parser.parse_args(argv)
    load = _Load(args.run, [p.read_bytes() for p in sorted(args.photos.rglob("*.jpg"))[:200]])
    end = time.monotonic() + 60 * args.minutes
    while time.monotonic() < end:
        load.one_life(min(args.kill_every, end - time.monotonic()), args.threads)
    load.start()
    load.check()
    load.server.kill()
    load.tell()
    return 1 if load.lost else 0


class _Load:
    """The server, what was asked of it, and what it answered."""

    def __init__(self, run: Path, photos: list[bytes]) -> None:
        self._run, self._photos = run, photos
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.errors: dict[str, int] = defaultdict(int)
        self.memory: list[float] = []
        self.lost: list[str] = []
        self.lives = self.checked = 0
        self._there: dict[str, int] = {}
        """Class -> pictures that were answered; 0: taken out."""
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start the server and wait until it answers."""
        code = "import sys; from hpo.cli.main import main; sys.exit(main())"
        command = [sys.executable, "-c", code, "serve", str(self._run), "--port", "0", "--json"]
        self.server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert self.server.stdout is not None
        told = json.loads(self.server.stdout.readline())
        self._url, self._headers = told["url"], {"Authorization": f"Bearer {told['token']}"}
        self.lives += 1

    def one_life(self, seconds: float, threads: int) -> None:
        """Start the server, check what it holds, load it, and kill it in the midst of that."""
        self.start()
        self.check()
        stop = threading.Event()
        workers = [
            threading.Thread(target=self._work, args=(f"{self.lives}-{number}", stop))
            for number in range(threads)
        ]
        for worker in workers:
            worker.start()
        time.sleep(seconds)
        self.memory.append(_resident_mib(self.server.pid))
        self.server.send_signal(signal.SIGKILL)
        stop.set()
        for worker in workers:
            worker.join()
        self.server.wait()

    def check(self) -> None:
        """Compare the gallery with what was answered."""
        classes = requests.get(f"{self._url}/classes", timeout=60).json()
        for name, count in self._there.items():
            self.checked += 1
            if classes.get(name, 0) != count:
                self.lost.append(f"{name}: answered {count}, there {classes.get(name, 0)}")

    def _work(self, name: str, stop: threading.Event) -> None:
        rng = random.Random(name)
        own: dict[str, int] = {}
        number = 0
        while not stop.is_set():
            (kind,) = rng.choices(list(SHARES), list(SHARES.values()))
            label = ""
            if kind == "remove":
                label = rng.choice(sorted(n for n, count in own.items() if count) or [""])
                kind = kind if label else "label"
            elif kind == "add":
                number += 1
                label = f"load {name} {number // 3}"
            if not self._ask(kind, label, own, rng):
                own.pop(label, None)  # whether it was changed is not known
                number = 3 * (number // 3) + 2  # and the next class is another one
        with self._lock:
            self._there |= own

    def _ask(self, kind: str, label: str, own: dict[str, int], rng: random.Random) -> bool:
        began = time.perf_counter()
        try:
            if kind == "label":
                photo = rng.choice(self._photos)
                answer = requests.post(f"{self._url}/label?topk=1", data=photo, timeout=60)
            elif kind == "add":
                url = f"{self._url}/classes/{label}"
                answer = requests.post(url, data=_picture(rng), headers=self._headers, timeout=60)
            else:
                url = f"{self._url}/classes/{label}"
                answer = requests.delete(url, headers=self._headers, timeout=60)
        except requests.RequestException:
            self.errors["no answer"] += 1
            return False
        self.seconds[kind].append(time.perf_counter() - began)
        if not answer.ok:
            self.errors[f"{kind} {answer.status_code}: {answer.text[:200]}"] += 1
            return False
        if kind != "label":
            own[label] = own.get(label, 0) + 1 if kind == "add" else 0
        return True

    def tell(self) -> None:
        """Print what was seen."""
        for kind, own in sorted(self.seconds.items()):
            p50, p95, p99 = 1000 * np.quantile(own, [0.5, 0.95, 0.99])
            print(f"{kind:<7} {len(own):6} requests, p50 {p50:.0f} p95 {p95:.0f} p99 {p99:.0f} ms")
        print(f"errors  {dict(self.errors)}")
        print("memory  " + ", ".join(f"{mib:.0f}" for mib in self.memory) + " MiB at each kill")
        print(f"lives   {self.lives}; load of the machine {os.getloadavg()[0]:.1f}")
        print(f"lost    {len(self.lost)} of {self.checked} checks of answered changes")
        for line in self.lost[:20]:
            print(f"        {line}")


def _picture(rng: random.Random) -> bytes:
    """A picture that no other is like."""
    pixels = np.frombuffer(rng.randbytes(48 * 48 * 3), dtype=np.uint8).reshape(48, 48, 3)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def _resident_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    raise SystemExit(main())
