"""What a child process finds: `main` prints it, and the trainer writes it down in a worker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

from tests.quick_trainer import QuickTrainer


def seen():
    """Where modules come from, and what this process would give to a program that it starts."""
    import numpy as np
    import onnx

    import hpo
    import search_spaces
    import trainer

    modules = (np, onnx, hpo, search_spaces, trainer)
    python = {k: v for k, v in os.environ.items() if k.startswith(("PYTHON", "HPO_GIVEN"))}
    return {
        "files": {module.__name__: str(Path(module.__file__).resolve()) for module in modules},
        "path": sys.path,
        "python": python,
        "actions": sorted({f[0] for f in warnings.filters if f[2] is Warning}),
        "options": sys.warnoptions,
        "arguments": sys.argv[1:],
    }


def importable(name):
    """Where a module is found, as it says."""
    return __import__(name).WHERE


def main(words):
    """Print what is seen, and what is importable of the words."""
    facts = {**seen(), "importable": [importable(word) for word in words]}
    print(json.dumps(facts))
    return 7


class Reporting(QuickTrainer):
    """A trainer whose trials write down what the worker sees, and what a program of the user's sees."""

    def fit(self, spec, report, resume_from=None, start_epoch=None):
        Path("facts.json").write_text(json.dumps(self.facts()))
        return super().fit(spec, report, resume_from, start_epoch)

    def facts(self):
        code = "import json, os; print(json.dumps({k: v for k, v in os.environ.items()"
        code += " if k.startswith(('PYTHON', 'HPO_GIVEN'))}))"
        python = Path(sys.executable)
        said = subprocess.run(
            [python, "-I", "-c", code], capture_output=True, text=True, check=True
        )
        alone = importable("mine_elsewhere")
        return {**seen(), "program": json.loads(said.stdout), "alone": alone}


TRAINER = Reporting()
