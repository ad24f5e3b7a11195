"""Connections over a socket, as uvicorn serves them."""

import asyncio

import pytest
import uvicorn
from uvicorn.server import ServerState

from hpo.serving.connections import with_limit

LIMIT_S = 0.15
WHOLE = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


async def app(scope, receive, send):
    await asyncio.sleep(2 * LIMIT_S)  # who has sent a request is waited for
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


async def answered(*sent):
    """What comes back of what is sent, each part after an answer, until the server closes."""
    config = uvicorn.Config(app, lifespan="off", log_level="error", timeout_keep_alive=60)
    config.load()
    state, kind = ServerState(), with_limit(LIMIT_S)
    server = await asyncio.get_running_loop().create_server(
        lambda: kind(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        answers = b""
        for number, part in enumerate(sent):
            if number:
                answers += await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
            writer.write(part)
        answers += await asyncio.wait_for(reader.read(), 10)
        writer.close()
    return answers


@pytest.mark.parametrize(
    ("sent", "count"),
    [((b"",), 0), ((WHOLE[:-2],), 0), ((WHOLE,), 1), ((WHOLE, WHOLE[:-2]), 1), ((WHOLE, WHOLE), 2)],
)
def test_who_sends_no_whole_head_in_time_is_let_go(sent, count):
    assert asyncio.run(answered(*sent)).count(b"HTTP/1.1 204") == count
