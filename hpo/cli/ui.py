"""`hpo ui`: open MLflow's page on the runs of a folder."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys

from hpo.cli.run_flags import (
    HOST,
    add_run_argument,
    add_serving_arguments,
    check_serving,
    chosen_run,
)
from hpo.core.errors import HpoError, SpecError

HELP = "open MLflow's page on the trials of a run"
EPILOG = """\
examples:
  hpo ui                     the newest run below runs/; where there are none, of this machine
  hpo ui shelf --port 8080   the newest run of the study `shelf`

The page is served to this machine alone. Where MLFLOW_TRACKING_URI names a server, the links into
that server are printed and nothing is started.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add_run_argument(parser)
    add_serving_arguments(parser, 5000, "; the page has no password")


def run(args: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C."""
    from hpo.tracking.address import why_useless
    from hpo.tracking.server import base_url, choose_port, find_links, running_server
    from hpo.tracking.store import default_tracking_uri, display_uri

    chosen = chosen_run(args, looks=True)
    tracking_uri = default_tracking_uri(chosen.store_dir)
    if why := why_useless(tracking_uri):
        raise HpoError(f"MLflow at {display_uri(tracking_uri)}: {why}")
    if tracking_uri.startswith(("http://", "https://")):
        unused = {
            "--port": args.port is not None,
            "--host": args.host != HOST,
            "--yes-expose": args.yes_expose,
        }
        if flag := ", ".join(flag for flag, is_given in unused.items() if is_given):
            raise SpecError(
                f"{flag}: not used, as MLFLOW_TRACKING_URI names a server that is up; leave it out"
            )
        _show(find_links(display_uri(tracking_uri).rstrip("/"), chosen), as_json=args.json)
        return 0
    _check(args, tracking_uri)
    port = choose_port(args.host, args.port)
    with contextlib.suppress(KeyboardInterrupt):
        if not args.json:
            print("starting MLflow ...", file=sys.stderr)
        with running_server(tracking_uri, args.host, port) as server:
            _show(find_links(base_url(args.host, port), chosen), as_json=args.json)
            if not args.json:
                print("Ctrl-C ends it", file=sys.stderr)
            server.wait()
    return 0


def _check(args: argparse.Namespace, tracking_uri: str) -> None:
    """Refuse what would fail later, or do more than was meant."""
    from importlib.util import find_spec

    from hpo.core.switches import is_switched_off
    from hpo.tracking.listener import SWITCH
    from hpo.tracking.store import local_database

    check_serving(args, "the page, which has no password")
    if find_spec("mlflow") is None:
        raise HpoError("MLflow is not installed; install the project with its extra `search`")
    database = local_database(tracking_uri)
    if database is not None and not database.is_file():
        why = "a search writes them once it has begun"
        if is_switched_off(SWITCH):
            why = f"{SWITCH} keeps searches from writing any; take it out of the environment"
        raise HpoError(f"{database}: no MLflow data yet; {why}")


def _show(links: dict[str, str], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(links))  # one line, because the stream stays open
    else:
        for name, link in links.items():
            print(f"{name:<7} {link}")
    sys.stdout.flush()
