"""The pictures of README, from a finished run: terminal, report, MLflow.

    python -m tests.make_pictures runs/quickstart [--folder docs/pictures]

Needs Chromium (or Chrome) for the report and MLflow's page.
"""

import argparse
import io
import os
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

from hpo.console.console import Console
from hpo.console.live import LiveView
from hpo.core.event_json import from_json
from hpo.core.events import Preparing, TrialFinished
from hpo.run.run_dir import RunDir, find_run
from hpo.tracking.store import default_tracking_uri
from tests.e2e.mlflow_page import find_browser, look

COLUMNS = 104
SHOWN_TRIALS = 9
"""The terminal is shown after so many trials have ended."""


class Terminal(io.StringIO):
    """A stream that says it is one."""

    def isatty(self) -> bool:
        """So lines are wrapped for it."""
        return True


def draw_terminal(run: RunDir, target: Path) -> None:
    """Replay the run's events up to the middle of the search, as a terminal showed them."""
    from rich.console import Console as RichConsole
    from rich.text import Text

    events = [from_json(line) for line in run.events_file.read_text().splitlines()]
    lines, clock, ended = io.StringIO(), [0.0], 0
    console = Console(lines, lambda: clock[0])
    console._color = True
    for event in events:
        clock[0] = event.time
        if isinstance(event, Preparing):
            continue
        console.handle(event)
        ended += isinstance(event, TrialFinished)
        if ended == SHOWN_TRIALS:
            break
    screen = RichConsole(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    screen.print(Text.from_ansi("$ hpo search --budget 12"))
    os.environ["COLUMNS"] = str(COLUMNS)
    for line in lines.getvalue().splitlines():
        if "running #" not in line:  # the status lines of a file, which the view replaces
            text = without_place(line, run)
            if "\x1b" not in text:  # colours have no width, which a search knows and this does not
                text = Console.wrapped(text, Terminal())
            screen.print(Text.from_ansi(text))
    view = LiveView(io.StringIO(), console._progress)
    view._console = screen
    screen.print(view.render())
    target.write_text(screen.export_svg(title="hpo search"), encoding="utf-8")


def without_place(text: str, run: RunDir) -> str:
    """The pictures belong to no machine: paths begin at the folder of the runs."""
    return text.replace(f"{run.path.parent.parent.parent}/", "")


def draw_report(run: RunDir, target: Path, *, width: int, height: int) -> None:
    """Photograph the top of the report."""
    with tempfile.TemporaryDirectory() as profile:
        page = Path(profile) / "report.html"
        page.write_text(without_place((run.path / "report.html").read_text(), run))
        subprocess.run(
            [
                find_browser(), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                f"--user-data-dir={profile}/browser", "--virtual-time-budget=15000",
                f"--window-size={width},{height}", f"--screenshot={target.resolve()}",
                page.resolve().as_uri(),
            ],
            check=True, capture_output=True, timeout=120,
        )  # fmt: skip


def main() -> None:
    """Make all three."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("--out", default="runs")
    parser.add_argument("--folder", type=Path, default=Path("docs/pictures"))
    args = parser.parse_args()
    run = find_run(args.run, Path(args.out))
    args.folder.mkdir(parents=True, exist_ok=True)
    draw_terminal(run, args.folder / "terminal.svg")
    draw_report(run, args.folder / "report.png", width=1100, height=1250)
    with tempfile.TemporaryDirectory() as shots:
        look(run, default_tracking_uri(Path(args.out)), Path(shots))
        with Image.open(Path(shots) / "mlflow_charts.png") as picture:
            # Without MLflow's assistant, which opens at the right on a first visit.
            page = picture.convert("RGB").crop((0, 0, 1545, 1320)).resize((1030, 880))
            page.quantize(128).save(args.folder / "mlflow.png", optimize=True)


if __name__ == "__main__":
    main()
