"""Nearest neighbours by the trainer's two backends and, where there is one, by faiss on the GPU.

    python tests/gpu/search_backends.py --json search.json

Wall seconds for k = 1 in 64 dimensions; `torch` is a plain blocked product on the GPU, which gives
no exact ties and stands here for the speed alone.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import torch

SIZES = ((829, 216), (10_000, 10_000), (50_000, 50_000))


def timed(work, query, gallery):
    """Seconds of the second call."""
    work(query, gallery)
    began = time.perf_counter()
    work(query, gallery)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


def on_gpu(query, gallery):
    """Blocked products on the card."""
    query, gallery = torch.from_numpy(query).cuda(), torch.from_numpy(gallery).cuda()
    return torch.cat([(part @ gallery.T).argmax(dim=1) for part in query.split(8192)]).cpu()


def faiss_gpu(query, gallery):
    """faiss's flat index on the card."""
    import faiss

    index = faiss.GpuIndexFlatIP(faiss.StandardGpuResources(), gallery.shape[1])
    index.add(gallery)
    return index.search(query, 1)


def main():
    """Measure what is installed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    from trainer.retrieval import has_faiss, search

    ways = {"matmul": lambda q, g: search(q, g, 1, backend="matmul")}
    if torch.cuda.is_available():
        ways["torch on the GPU"] = on_gpu
    if has_faiss():
        import faiss

        ways["faiss"] = lambda q, g: search(q, g, 1, backend="faiss")
        if hasattr(faiss, "GpuIndexFlatIP") and faiss.get_num_gpus():
            ways["faiss on the GPU"] = faiss_gpu
    else:
        print("faiss is not installed: matmul and torch alone")
    rng, result = np.random.default_rng(0), {}
    for num_query, num_gallery in SIZES:
        query = rng.normal(size=(num_query, 64)).astype(np.float32)
        gallery = rng.normal(size=(num_gallery, 64)).astype(np.float32)
        row = {name: timed(work, query, gallery) for name, work in ways.items()}
        result[f"{num_query} x {num_gallery}"] = row
        words = ", ".join(f"{name} {seconds:.3f} s" for name, seconds in row.items())
        print(f"{num_query} queries x {num_gallery}: {words}", flush=True)
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
