"""`hpo serve`: label pictures over HTTP with a run's best model."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import socket
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from hpo.cli.run_flags import (
    USED_RUN,
    add_run_argument,
    add_serving_arguments,
    check_serving,
    model_run,
)
from hpo.core.errors import HpoError, MachineError, SpecError
from hpo.core.text import count_of

if TYPE_CHECKING:
    from hpo.serving.service import PictureService

HELP = "label pictures over HTTP with the best model of a run"
DEFAULT_PORT = 8000
_TOKEN_VARIABLE = "HPO_SERVE_TOKEN"  # noqa: S105 - a name
_SHORTEST_TOKEN = 16
_LARGEST = 1_000_000
"""Seconds or megabytes."""

EPILOG = """\
examples:
  hpo serve                 the newest finished run, or the one that `hpo use` pinned, on port 8000
  hpo serve retail --port 9000
  curl --data-binary @photo.jpg 'http://127.0.0.1:8000/label?topk=3'
  curl -H "Authorization: Bearer $TOKEN" --data-binary @a.jpg http://127.0.0.1:8000/classes/lemon
  curl -H "Authorization: Bearer $TOKEN" -X DELETE http://127.0.0.1:8000/classes/lemon

The address opens a page on which pictures can be dropped; /docs describes every request, /health
says whether it works. Labelling is free to whoever reaches the server; changes of the gallery need
the token: HPO_SERVE_TOKEN, or one that is printed at the start. A change is on the disk when it is
answered. Ctrl-C ends it.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add_run_argument(parser, USED_RUN)
    add_serving_arguments(parser, DEFAULT_PORT, ": whoever does may have pictures labelled")
    parser.add_argument(
        "--unknown-at",
        metavar="SHARE",
        type=float,
        help="answer `unknown` where no class is near enough, so that this share of pictures of "
        "unknown classes is taken for known",
    )
    parser.add_argument(
        "--max-mb", metavar="MB", type=float, default=20.0, help="of a picture (default: 20)"
    )
    parser.add_argument(
        "--timeout",
        metavar="S",
        type=float,
        default=30.0,
        help="seconds for a picture to arrive, and for its answer (default: 30)",
    )


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C."""
    _check(args)
    from hpo.cli.driving import machine_output
    from hpo.serving.service import PictureService

    chosen = model_run(args)
    token, is_given = _token()
    with machine_output():  # the trainer runs here, and its libraries may print
        service = PictureService(chosen, args.unknown_at)
        service.warm_up()
        counts, price = service.classes(), service.unknown_price()
    listener = _listen(args.host, args.port)
    host = f"[{args.host}]" if ":" in args.host else args.host
    url = f"http://{host}:{listener.getsockname()[1]}"
    shown = {"url": url, "run": str(chosen), "classes": len(counts)}
    shown |= {"unknown": price} if price else {}
    if args.json:
        print(json.dumps(shown if is_given else {**shown, "token": token}), flush=True)
    else:
        print(f"url     {url}   (a page for people; {url}/docs for programs)")
        pictures = count_of(sum(counts.values()), "picture")
        classes = count_of(len(counts), "class", "classes")
        print(f"run     {chosen}: {pictures} of {classes}")
        if price:
            print(price)
        if not is_given:
            print(f"token   {token}   (changes need it: Authorization: Bearer TOKEN)")
        sys.stdout.flush()
        print("Ctrl-C ends it", file=sys.stderr, flush=True)
    _serve(service, args, token, listener)
    return 0


def _check(args: argparse.Namespace) -> None:
    from importlib.util import find_spec

    check_serving(args, "the server")
    for flag, value in (("--max-mb", args.max_mb), ("--timeout", args.timeout)):
        if not 0 < value <= _LARGEST:
            raise SpecError(f"{flag}: must be above 0, and at most {_LARGEST:,}, got {value:g}")
    if args.unknown_at is not None and not 0 < args.unknown_at < 1:
        raise SpecError(f"--unknown-at: must be between 0 and 1, got {args.unknown_at:g}")
    for package in ("fastapi", "uvicorn"):
        if find_spec(package) is None:
            raise HpoError(f"{package} is not installed; pip install 'hpo-recognition[search]'")


def _token() -> tuple[str, bool]:
    """The token of changes, and whether the user gave it."""
    given = os.environ.get(_TOKEN_VARIABLE, "").strip()  # as HTTP strips what requests bring
    if given and (len(given) < _SHORTEST_TOKEN or not given.isascii() or not given.isprintable()):
        raise SpecError(
            f"{_TOKEN_VARIABLE}: must have {_SHORTEST_TOKEN} or more plain characters, got "
            f"{len(given)}; leave it out to have one made"
        )
    return given or secrets.token_urlsafe(24), bool(given)


def _listen(host: str, port: int | None) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    last: OSError | None = None
    for number in (port,) if port is not None else (DEFAULT_PORT, 0):
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, number))
            listener.listen(128)  # requests that come before the server runs wait in the queue
        except OSError as error:
            listener.close()
            last = error
            continue
        return listener
    why = last.strerror if last else ""
    raise MachineError(f"--host {host} --port {port}: cannot be listened on ({why})")


def _serve(
    service: PictureService, args: argparse.Namespace, token: str, listener: socket.socket
) -> None:
    import uvicorn

    from hpo.serving.app import MOST_HELD, ServerSettings, build_app
    from hpo.serving.connections import with_limit

    most = round(args.max_mb * 1e6)
    settings = ServerSettings(
        token=token,
        max_bytes=most,
        max_held_bytes=max(most, MOST_HELD),
        timeout_s=args.timeout,
    )
    if args.yes_expose:
        settings = replace(settings, hosts=("*",))
    config = uvicorn.Config(
        build_app(service, settings),
        http=with_limit(args.timeout),
        log_level="warning",
        access_log=False,
        limit_concurrency=256,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=10,
    )
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn passes Ctrl-C on once it has ended
        uvicorn.Server(config).run(sockets=[listener])
