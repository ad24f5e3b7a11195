"""The HTTP side of `hpo serve`: routes, limits, who may change what.

| request | answer |
|---|---|
| `POST /label?topk=5`, body: a picture, or a form with one | its matches |
| `GET /classes` | class -> pictures |
| `POST /classes/NAME`, body: a picture | added to a class, which may be new (token) |
| `DELETE /classes/NAME` | taken out (token) |
| `POST /undo` | the last change taken back (token) |
| `GET /health`, `/docs`, `/openapi.json`, `/` | state, description, a page for people |

Errors are `{"error": one line}`: 400 called by another name, 401 without the token, 404 no such
class, 408 the picture did not arrive in time, 409 it is there under another class, 413 too large,
422 no readable picture, a wrong value or an unknown word, 503 too busy or too slow, so that nothing
was changed.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib import resources
from typing import Annotated, Any, TypeVar

from fastapi import Depends, FastAPI, Header, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from fastapi.routing import APIRoute
from starlette.convertors import PathConvertor, register_url_convertor
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from hpo.core.errors import HpoError, MachineError, RunError
from hpo.core.machine import count_cpus
from hpo.core.text import cut, nearest, one_line, quoted
from hpo.serving.form import file_of_form, is_form
from hpo.serving.service import ConflictError, NoSuchClassError, PictureService

_Result = TypeVar("_Result")

MOST_HELD = 500_000_000
"""Bytes of pictures that requests hold at a time, unless one may have more."""
_MOST_MATCHES = 50
_REFUSALS = {
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number of fewer digits",
    "int_from_float": "must be a whole number",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "string_too_long": "must have at most {max_length} characters",
}
"""What FastAPI refuses, in the words of the command line."""
_BINARY = {"type": "string", "format": "binary"}
_PICTURE_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "image/*": {"schema": _BINARY},
            "multipart/form-data": {
                "schema": {"type": "object", "properties": {"file": _BINARY}, "required": ["file"]}
            },
        },
    }
}
_SAFE_PAGE = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
        "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class _NameConvertor(PathConvertor):
    """Takes any signs for a name, slashes and line breaks too: the service refuses what is none."""

    regex = "(?s:.*)"


register_url_convertor("name", _NameConvertor())


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """Who may do how much."""

    token: str
    """What changes must bring along, as `Authorization: Bearer TOKEN`."""
    max_bytes: int = 20_000_000
    """Of a picture."""
    max_held_bytes: int = MOST_HELD
    """Of all pictures that requests hold at a time."""
    timeout_s: float = 30.0
    """For a picture to arrive, and again for the answer."""
    hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "::1")
    """Names that the server may be called by; `*` for any. A page of somebody else's that has a
    browser call this machine comes under another name."""


def build_app(service: PictureService, settings: ServerSettings) -> FastAPI:
    """Return the application, to be run by any ASGI server."""
    app = FastAPI(
        title="hpo serve",
        description="Labels pictures by a trained model and its gallery.",
        version="1",
        docs_url=None,
        redoc_url=None,
        dependencies=[Depends(_demand_known_words)],
    )
    app.add_middleware(_KnownHosts, hosts=settings.hosts)
    _answer_errors(app)
    work = _Work(service, settings)
    for add_some in (_add_labelling, _add_changes, _add_pages):
        add_some(app, work)
    return app


class _KnownHosts:
    """Refuses requests that call the server by another name than those it has."""

    def __init__(self, app: ASGIApp, hosts: tuple[str, ...]) -> None:
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        app = self._app
        if scope["type"] == "http" and "*" not in self._hosts:
            host = Headers(scope=scope).get("host", "")
            if _without_port(host).lower() not in self._hosts:
                line = f"the server must be called by {' or '.join(self._hosts)}, got {cut(host)!r}"
                app = _error(400, line)
        await app(scope, receive, send)


def _without_port(host: str) -> str:
    if host.startswith("["):  # an address of IPv6
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


async def _demand_known_words(request: Request) -> None:
    """Refuse words of a query that the route does not know, and those that are given twice."""
    route = request.scope["route"]
    if not isinstance(route, APIRoute) or not route.include_in_schema:
        return
    known = [field.alias for field in route.dependant.query_params]
    for word in request.query_params:
        if word not in known:
            takes = f"; known are {', '.join(known)}" if known else "; none is known here"
            hint = nearest(word.lower(), known) or takes
            raise HTTPException(422, f"{cut(word)}: no such word of a query{hint}")
        if (times := len(request.query_params.getlist(word))) > 1:
            raise HTTPException(422, f"{word}: must be given once, got {times} times")


class _Work:
    """Runs what takes long in threads, within the limits."""

    def __init__(self, service: PictureService, settings: ServerSettings) -> None:
        self.service = service
        self.settings = settings
        self._threads = ThreadPoolExecutor(2 * count_cpus())
        self._held = 0

    async def run(self, task: Callable[[], _Result], *, is_change: bool = False) -> _Result:
        """Run in a thread, within the time limit.

        What has begun keeps its thread to its end, and a change that has begun is waited for: who
        is told to try again would make it twice.
        """
        begun = self._threads.submit(task)
        answer = asyncio.wrap_future(begun)
        done, _ = await asyncio.wait([answer], timeout=self.settings.timeout_s)
        if not done and (begun.cancel() or not is_change):
            answer.cancel()  # a picture's label; nobody waits for it now
            limit = f"{self.settings.timeout_s:g} s"
            raise HTTPException(503, f"no answer within {limit}; try again later")
        return await answer

    @asynccontextmanager
    async def picture(self, request: Request) -> AsyncIterator[bytes]:
        """Receive a picture; it counts as held until this is left."""
        data = bytearray()
        try:
            await self._receive(request, data)
            if not data:
                raise HTTPException(422, "the body must be a picture, and is empty")
            kind = request.headers.get("content-type", "")
            is_plain = not is_form(kind)
            yield bytes(data) if is_plain else await self.run(partial(file_of_form, kind, data))
        finally:
            self._held -= len(data)

    async def _receive(self, request: Request, data: bytearray) -> None:
        """Fill `data`, as far as it keeps to size and time."""
        most = self.settings.max_bytes
        too_large = HTTPException(413, f"a picture may have {most} bytes at most")
        told = request.headers.get("content-length", "")
        if told.isdigit() and int(told) > most:
            raise too_large
        try:
            async with asyncio.timeout(self.settings.timeout_s):
                async for chunk in request.stream():
                    data += chunk
                    self._held += len(chunk)
                    if len(data) > most:
                        raise too_large
                    if self._held > self.settings.max_held_bytes:
                        raise HTTPException(503, "too many pictures at a time; try again later")
        except TimeoutError as error:
            limit = f"{self.settings.timeout_s:g} s"
            raise HTTPException(408, f"the picture did not arrive within {limit}") from error
        except ClientDisconnect as error:  # nobody is left to read the answer
            raise HTTPException(400, "the picture did not arrive as a whole") from error

    def demand_token(self, authorization: str) -> None:
        """Refuse who does not bring the token."""
        kind, _, given = authorization.partition(" ")
        is_right = secrets.compare_digest(given.strip().encode(), self.settings.token.encode())
        if kind.lower() != "bearer" or not is_right:
            raise HTTPException(
                401,
                "changes need the token that `hpo serve` printed or was given: "
                "Authorization: Bearer TOKEN",
                headers={"WWW-Authenticate": "Bearer"},
            )


_Authorization = Annotated[str, Header(description="`Bearer TOKEN`")]
_Name = Annotated[str, Query(description="what messages call the picture", max_length=255)]


def _add_labelling(app: FastAPI, work: _Work) -> None:
    service = work.service

    @app.post("/label", openapi_extra=_PICTURE_BODY, summary="Label a picture")
    async def label(
        request: Request,
        topk: Annotated[int, Query(ge=1, le=_MOST_MATCHES, description="matches to list")] = 5,
        name: _Name = "picture",
    ) -> dict[str, Any]:
        async with work.picture(request) as data:
            return await work.run(partial(service.label, data, name, topk))

    @app.get("/classes", summary="Classes of the gallery, and how many pictures each has")
    async def classes() -> dict[str, int]:
        return await work.run(service.classes)


def _add_changes(app: FastAPI, work: _Work) -> None:
    service = work.service

    @app.post(
        "/classes/{label:name}", openapi_extra=_PICTURE_BODY, summary="Add a picture to a class"
    )
    async def add(
        request: Request, label: str, name: _Name = "picture", authorization: _Authorization = ""
    ) -> dict[str, Any]:
        work.demand_token(authorization)
        async with work.picture(request) as data:
            return await work.run(partial(service.add, label, data, name), is_change=True)

    @app.delete("/classes/{label:name}", summary="Take a class out")
    async def remove(label: str, authorization: _Authorization = "") -> dict[str, Any]:
        work.demand_token(authorization)
        return await work.run(partial(service.remove, label), is_change=True)

    @app.post("/undo", summary="Take the last change back")
    async def undo(authorization: _Authorization = "") -> dict[str, Any]:
        work.demand_token(authorization)
        return await work.run(service.undo, is_change=True)


def _add_pages(app: FastAPI, work: _Work) -> None:
    service = work.service

    @app.get("/health", summary="Whether it works, and on what")
    async def health() -> dict[str, Any]:
        counts = await work.run(service.classes)
        return {
            "status": "ok",
            "run": str(service.run),
            "classes": len(counts),
            "pictures": sum(counts.values()),
        }

    @app.get("/picture", include_in_schema=False)
    async def picture(path: str) -> Response:
        data = await work.run(partial(service.thumbnail, path))
        if data is None:
            raise HTTPException(404, "no such gallery picture")
        headers = {"Cache-Control": "max-age=3600", "X-Content-Type-Options": "nosniff"}
        return Response(data, media_type="image/jpeg", headers=headers)

    @app.get("/", include_in_schema=False)
    async def page() -> HTMLResponse:
        return HTMLResponse(_packaged("page.html"), headers=_SAFE_PAGE)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(_packaged("docs.html"), headers=_SAFE_PAGE)


def _packaged(name: str) -> str:
    return (resources.files("hpo.serving") / name).read_text(encoding="utf-8")


def _error(status: int, text: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": one_line(text)}, status, headers=headers)


def _answer_errors(app: FastAPI) -> None:
    """Answer every error as `{"error": one line}`."""

    @app.exception_handler(HpoError)
    async def of_the_project(_request: Request, error: HpoError) -> JSONResponse:
        status = 422
        if isinstance(error, ConflictError):
            status = 409
        elif isinstance(error, NoSuchClassError):
            status = 404
        elif isinstance(error, RunError | MachineError):
            status = 503
        return _error(status, str(error))

    @app.exception_handler(HTTPException)
    async def of_http(_request: Request, error: HTTPException) -> JSONResponse:
        return _error(error.status_code, error.detail, error.headers)

    @app.exception_handler(RequestValidationError)
    async def of_values(_request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        words = _REFUSALS.get(first["type"], first["msg"]).format(**first.get("ctx") or {})
        return _error(422, f"{first['loc'][-1]}: {words}, got {quoted(first['input'])}")

    @app.exception_handler(Exception)
    async def of_ours(_request: Request, _bug: Exception) -> JSONResponse:
        return _error(500, "a bug of the server; its log says more")
