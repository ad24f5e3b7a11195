"""Opens MLflow's pages for a run in headless Chromium: what is on them, and pictures of them.

    python -m tests.e2e.mlflow_page RUN [--out runs] [--shots DIR]

Prints for each page which trials and charts it shows; exit code 1 when one shows none.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib import parse, request

from hpo.run.run_dir import RunDir, find_run
from hpo.tracking.server import base_url, choose_port, find_links, running_server
from hpo.tracking.store import default_tracking_uri

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WIDTH, HEIGHT = 2100, 1500
PATIENCE_MS = 400_000
"""Virtual time: MLflow's charts are drawn by workers, long after the page has loaded."""
MARKS = {
    "trials": ("val_precision_at_1_best", "hpo.state"),
    "charts": ("Parallel Coordinates", "Learning curves|learning curves", "val_precision_at_1"),
    "search": ("is best", "Child runs", "algorithm"),
    "compare": ("Parallel Coordinates Plot", "Show diff only"),
}
"""Page -> what must be readable on it."""


@dataclass(frozen=True)
class Page:
    """One page as the browser has drawn it."""

    name: str
    link: str
    trials: list[str]
    missing: list[str]


def find_browser() -> str | None:
    """A Chromium on this machine."""
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


def look(run: RunDir, tracking_uri: str, shots: Path | None) -> list[Page]:
    """Start MLflow on a store and look at the pages of one run."""
    port = choose_port("127.0.0.1", 0)
    base = base_url("127.0.0.1", port)
    with running_server(tracking_uri, "127.0.0.1", port):
        links = find_links(base, run)
        links["compare"] = compare_link(base, links["search"])
        return [look_at(name, link, shots) for name, link in links.items()]


def look_at(name: str, link: str, shots: Path | None) -> Page:
    """Draw one page; the picture goes to `shots`."""
    browser = find_browser()
    assert browser, f"no browser found; install one of {', '.join(BROWSERS)}"
    with tempfile.TemporaryDirectory() as profile:
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"]
        command += ["--no-first-run", "--disable-background-networking", "--disable-sync"]
        command += ["--disable-component-update", "--hide-scrollbars", "--dump-dom"]
        command += [f"--user-data-dir={profile}", f"--window-size={WIDTH},{HEIGHT}"]
        command += [f"--virtual-time-budget={PATIENCE_MS}"]
        if shots is not None:
            shots.mkdir(parents=True, exist_ok=True)
            command.append(f"--screenshot={shots.resolve() / f'mlflow_{name}.png'}")
        drawn = subprocess.run(
            [*command, link], capture_output=True, text=True, timeout=300, check=True
        )
    text = re.sub(r"<[^>]+>", " ", drawn.stdout)
    missing = [mark for mark in MARKS[name] if not re.search(mark, text)]
    return Page(name, link, sorted(set(re.findall(r"trial-\d{4}", text))), missing)


def compare_link(base: str, search_link: str) -> str:
    """MLflow's own page for comparing runs, with the children of a parent run."""
    experiment, parent = re.search(r"experiments/(\d+)/runs/(\w+)", search_link).groups()
    body = {
        "experiment_ids": [experiment],
        "filter": f"tags.`mlflow.parentRunId` = '{parent}'",
        "max_results": 20,
    }
    head = {"Content-Type": "application/json"}
    url = f"{base}/api/2.0/mlflow/runs/search"
    question = request.Request(url, json.dumps(body).encode(), head)  # noqa: S310 - our own server
    with request.urlopen(question, timeout=60) as answer:  # noqa: S310 - as above
        runs = [run["info"]["run_id"] for run in json.load(answer)["runs"]]
    query = {"runs": json.dumps(runs), "experiments": json.dumps([experiment])}
    return f"{base}/#/compare-runs?{parse.urlencode(query, quote_via=parse.quote)}"


def main(argv: list[str] | None = None) -> int:
    """Look at the pages of one run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", nargs="?", help="run directory, study or timestamp")
    parser.add_argument("--out", type=Path, default=Path("runs"))
    parser.add_argument("--shots", type=Path, help="folder for the pictures")
    args = parser.parse_args(argv)
    run = find_run(args.run, args.out)
    pages = look(run, default_tracking_uri(run.path.parent.parent), args.shots)
    for page in pages:
        verdict = f"lacks {', '.join(page.missing)}" if page.missing else "complete"
        print(f"{page.name:<8} {len(page.trials)} trials, {verdict}")
    return int(any(page.missing or not page.trials for page in pages))


if __name__ == "__main__":
    sys.exit(main())
