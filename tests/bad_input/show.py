"""Every message of the corpus, to be read: `python -m tests.bad_input.show [part of a name]`."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from pathlib import Path

from tests.bad_input.judging import Hung, ask, lay_out, standing_in


class _Files:
    """Takes what is written to the two descriptors, as pytest's capfd does."""

    def __init__(self, folder: Path) -> None:
        self.paths = [folder / ".out", folder / ".err"]
        for number, path in enumerate(self.paths, start=1):
            os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND), number)

    def readouterr(self):
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        texts = [path.read_text(errors="replace") for path in self.paths]
        for path in self.paths:
            os.truncate(path, 0)
        return type("Shown", (), {"out": texts[0], "err": texts[1]})


def main() -> None:
    """Print a case's words and its answer."""
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    screen = os.fdopen(os.dup(1), "w")
    sys.modules["mlflow"] = None
    os.environ["HPO_TRAINER_MODULES"] = "tests"
    for module in sorted(Path(__file__).parent.glob("test_*.py")):
        found = importlib.import_module(f"tests.bad_input.{module.stem}")
        for case in getattr(found, "CASES", []):
            if wanted in f"{module.stem}:{case.name}":
                _show(module.stem, case, screen)


def _show(kind: str, case, screen) -> None:
    with tempfile.TemporaryDirectory() as folder, standing_in(Path(folder)):
        os.environ["HPO_CACHE_DIR"] = f"{folder}/cache"
        desk = Path(folder) / "desk"
        desk.mkdir()
        os.chdir(desk)
        capture = _Files(Path(folder))
        try:
            lay_out(case, desk)
            answer = ask(case.argv, capture)
            words = f"[{answer.code}, {answer.seconds:.1f} s]\n    {answer.err.rstrip()}"
            words += f"\n    STDOUT {answer.out[:300]}" if answer.out else ""
        except Hung as hung:
            words = f"HUNG {hung}"
        except Exception as error:  # noqa: BLE001 - shown, as pytest would
            words = f"BROKE {type(error).__name__}: {error}"
        print(f"\n{kind}:{case.name}  {words.replace(folder, '~')}", file=screen, flush=True)


if __name__ == "__main__":
    main()
