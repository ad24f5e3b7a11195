"""A small S3 server on loopback: lists and gives objects, and checks that requests are signed."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from xml.sax.saxutils import escape

ACCESS, SECRET = "AKTEST", "secret-of-the-test"


class Bucket(ThreadingHTTPServer):
    """Serves `objects` (`bucket/key` -> bytes) and counts what was fetched."""

    daemon_threads = True

    def __init__(self, page=1000):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects, self.fetched, self.listed, self.page = {}, [], 0, page

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def environment(self):
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": ACCESS,
            "AWS_SECRET_ACCESS_KEY": SECRET,
        }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        credential = f"Credential={ACCESS}/"
        if credential not in self.headers.get("authorization", ""):
            self._answer(403, b"<Error><Code>InvalidAccessKeyId</Code></Error>")
            return
        parts = urllib.parse.urlsplit(self.path)
        name = urllib.parse.unquote(parts.path).lstrip("/")
        query = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))
        if "list-type" in query:
            self._list(name, query)
        elif name in self.server.objects:
            self.server.fetched += [name] if self.command == "GET" else []
            self._answer(200, self.server.objects[name])
        else:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")

    def _list(self, bucket, query):
        self.server.listed += 1
        keys = sorted(
            name.partition("/")[2]
            for name in self.server.objects
            if name.startswith(f"{bucket}/{query['prefix']}")
        )
        start = int(query.get("continuation-token", "0"))
        end = start + self.server.page
        rows = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(body)}</Size>"
            f"<ETag>{_tag(body)}</ETag></Contents>"
            for key in keys[start:end]
            for body in [self.server.objects[f"{bucket}/{key}"]]
        )
        more = end < len(keys)
        tail = f"<NextContinuationToken>{end}</NextContinuationToken>" if more else ""
        text = (
            '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<IsTruncated>{str(more).lower()}</IsTruncated>{tail}{rows}</ListBucketResult>"
        )
        self._answer(200, text.encode())

    def _answer(self, code, body):
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", _tag(body))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_):
        pass


def _tag(body):
    return hashlib.sha256(body).hexdigest()[:32]


@contextlib.contextmanager
def serving(page=1000):
    """A running server; it ends with the block."""
    with Bucket(page) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
