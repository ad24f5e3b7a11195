"""How long it takes to import the package and to compile large schemas.

    python tests/benchmarks/space_compile.py [--json PATH]

Prints a table; exits with 1 when a schema of 1000 nodes takes 0.3 s or more, or the import 0.1 s.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

REPEATS = 5


def large_schema(num_nodes: int) -> dict:
    """A schema with every kind of number, option, list and relation, ten leaves a group."""
    properties, names = {}, []
    for group in range(num_nodes // 11):
        prefix = f"g{group}"
        leaves = {
            "rate": {"type": "float", "minimum": 0.0, "maximum": 1.0, "default": 3e-4},
            "decay": {"type": "float", "minimum": 0.0, "maximum": 1.0, "default": 0.9},
            "count": {"type": "int", "minimum": 1, "maximum": 900, "default": 300},
            "part": {"type": "int", "minimum": 1, "maximum": 900, "default": 400},
            "power": {"type": "int", "minimum": 1, "maximum": 256, "default": 8},
            "grid": {"type": "int", "minimum": 64, "maximum": 1024, "default": 512},
            "name": {"type": "categorical", "enum": ["a", "b", "c"], "default": "a"},
            "flag": {"type": "bool", "default": True},
            "steps": {"type": "list_2", "minimum": 1, "maximum": 90, "default": [40, 70]},
            "open": {"type": "int", "minimum": 1, "maximum": float("inf"), "default": 6},
        }
        leaves["rate"]["math_cond"] = leaves["decay"]["math_cond"] = "> 0.0"
        leaves["part"] |= {"math_cond": "> depends_on", "depends_on": f"{prefix}.count"}
        leaves["power"]["math_cond"], leaves["grid"]["math_cond"] = "^ 2", "/ 8"
        leaves["name"]["option_weights"] = [0.5, 0.3, 0.2]
        properties[prefix] = {"type": "collection", "properties": leaves}
        names += [f"{prefix}.{leaf}" for leaf in leaves]
    return {
        "properties": properties,
        "automl_default_parameters": names,
        "default": {},
        "x_tao_schema": {},
    }


def measure(num_nodes: int) -> dict[str, float]:
    """Return the best of several times, in seconds, for one size."""
    import random

    from search_spaces import compile_space, load_schema

    data = large_schema(num_nodes)
    load_s, compile_s, sample_s = [], [], []
    for _ in range(REPEATS):
        start = time.perf_counter()
        schema = load_schema(data)
        loaded = time.perf_counter()
        space = compile_space(schema)
        compiled = time.perf_counter()
        space.sample(random.Random(0))
        load_s.append(loaded - start)
        compile_s.append(compiled - loaded)
        sample_s.append(time.perf_counter() - compiled)
    return {
        "nodes": schema.num_nodes,
        "parameters": len(space.parameters),
        "load_s": min(load_s),
        "compile_s": min(compile_s),
        "sample_s": min(sample_s),
    }


def import_seconds() -> float:
    """Return the best time of a fresh process for the import alone."""
    code = (
        "import time; t = time.perf_counter(); import search_spaces; print(time.perf_counter() - t)"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
        )
        for _ in range(REPEATS)
    ]
    return min(float(run.stdout) for run in runs)


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures here")
    args = parser.parse_args()
    rows = [measure(size) for size in (100, 1000, 4000)]
    seconds = import_seconds()
    print(f"import {seconds:.3f} s")
    print("nodes  parameters  load s  compile s  one sample s")
    for row in rows:
        print(
            f"{row['nodes']:5d}  {row['parameters']:10d}  {row['load_s']:6.3f}  "
            f"{row['compile_s']:9.3f}  {row['sample_s']:12.4f}"
        )
    if args.json:
        args.json.write_text(json.dumps({"import_s": seconds, "sizes": rows}, indent=1) + "\n")
    thousand = rows[1]["load_s"] + rows[1]["compile_s"]
    return int(thousand >= 0.3 or seconds >= 0.1)


if __name__ == "__main__":
    sys.exit(main())
