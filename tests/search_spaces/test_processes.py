"""The same seed gives the same points in every process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import json, random
from search_spaces import Overlay, compile_space, load_schema
from tests.search_spaces.building import number, schema_of

names = ["o.name", "o.a", "o.b", "z.sub", "z.w", "m.child", "m.parent", "x.x"]
nodes = {
    "o.name": {"type": "categorical", "enum": ["Adam", "SGD", "Adamax"], "default": "Adam"},
    "o.a": number(0.0, 1.0, 0.9, "> 0.0"),
    "o.b": number(0.0, 1.0, 1e-3, "> 0.0"),
    "z.sub": {"type": "subset_list", "enum": ["q", "k", "v"], "default": ["q"]},
    "z.w": {"type": "categorical", "enum": list("abcd"), "option_weights": [.1, .1, .4, .4]},
    "m.child": number(1, 900, 300, "> depends_on", kind="int", depends_on="m.parent"),
    "m.parent": number(100, 600, 390, kind="int"),
    "x.x": number(1, 256, 8, "^ 2", kind="int"),
}
def inactive(spec):
    return {} if spec["o"]["name"] == "SGD" else {"o.a": "no momentum", "o.b": "none"}
space = compile_space(load_schema(schema_of(nodes, set(names))), inactive=inactive)
rng = random.Random(7)
points = [space.sample(rng) for _ in range(50)]
print(json.dumps([space.digest, [d.name for d in space.dimensions], points]))
"""


def run(hash_seed: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_same_seed_same_points_under_another_hash_seed():
    one, other = run("1"), run("4242")
    assert one == other
    assert len(json.loads(one)[2]) == 50


@pytest.mark.parametrize("module", ["numpy", "torch", "optuna", "ray", "jsonschema"])
def test_importing_the_package_loads_nothing_heavy(module):
    code = f"import sys, search_spaces; sys.exit({module!r} in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=ROOT, check=False)
    assert done.returncode == 0
