"""Reading s3:// addresses with nothing but the standard library, where `s3fs` is not installed.

Requests are signed as "AWS Signature Version 4" prescribes. Keys come from `AWS_ACCESS_KEY_ID` and
`AWS_SECRET_ACCESS_KEY`, else from the profile `AWS_PROFILE` of the credentials file; the endpoint
from `AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL`, as for other S3 tools.
"""

from __future__ import annotations

import configparser
import datetime as dt
import hashlib
import hmac
import os
import shutil
import urllib.error
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

_EMPTY = hashlib.sha256(b"").hexdigest()
_TIMEOUT_S = 60
_DEFAULT_REGION = "us-east-1"
_DENIED = (401, 403)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """Who asks, and in which region."""

    access: str
    secret: str
    session: str = ""
    region: str = _DEFAULT_REGION


def find_keys() -> Keys:
    """Read keys from the environment, else from the credentials file.

    Raises:
        PermissionError: when there are none, saying what to set.
    """
    env = os.environ
    region = env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION") or _DEFAULT_REGION
    access, secret = env.get("AWS_ACCESS_KEY_ID"), env.get("AWS_SECRET_ACCESS_KEY")
    if access and secret:
        session = env.get("AWS_SESSION_TOKEN", "")
        return Keys(access=access, secret=secret, session=session, region=region)
    file = Path(env.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")).expanduser()
    profile = env.get("AWS_PROFILE", "default")
    found = configparser.ConfigParser(interpolation=None)
    found.read(file)
    if found.has_option(profile, "aws_secret_access_key"):
        section = found[profile]
        return Keys(
            access=section.get("aws_access_key_id", ""),
            secret=section["aws_secret_access_key"],
            session=section.get("aws_session_token", ""),
            region=section.get("region", region),
        )
    raise PermissionError(
        "no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE to a "
        f"profile of {file}"
    )


def signed_headers(
    url: str, keys: Keys, now: dt.datetime, more: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The headers that sign a GET of an address.

    Args:
        url: with its query.
        keys: who asks.
        now: the present in UTC.
        more: further headers that are sent and signed too.
    """
    parts = urllib.parse.urlsplit(url)
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    headers = {"host": parts.netloc, "x-amz-content-sha256": _EMPTY, "x-amz-date": stamp}
    headers |= {name.lower(): value for name, value in (more or {}).items()}
    if keys.session:
        headers["x-amz-security-token"] = keys.session
    names = ";".join(sorted(headers))
    query = "&".join(sorted(parts.query.split("&"))) if parts.query else ""
    lines = [f"{name}:{headers[name].strip()}" for name in sorted(headers)]
    canonical = "\n".join(["GET", parts.path or "/", query, *lines, "", names, _EMPTY])
    scope = f"{day}/{keys.region}/s3/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, digest])
    key = f"AWS4{keys.secret}".encode()
    for part in (day, keys.region, "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={keys.access}/{scope},SignedHeaders={names},"
        f"Signature={signature}"
    )
    return headers


class S3Store:
    """Objects behind s3:// with those methods of an fsspec file system that staging uses.

    Paths are `bucket/key`, as fsspec has them.
    """

    def __init__(self) -> None:
        self._keys = find_keys()
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        self._endpoint = (endpoint or f"https://s3.{self._keys.region}.amazonaws.com").rstrip("/")

    def info(self, path: str) -> dict[str, Any]:
        """Facts about an object, or that the path is a folder.

        Raises:
            FileNotFoundError: nothing is there.
        """
        path = path.rstrip("/")
        for entry in self._list(path):
            if entry["name"] == path:
                return entry
            if entry["name"].startswith(f"{path}/"):
                return {"name": path, "type": "directory", "size": 0}
        raise FileNotFoundError(path)

    def isfile(self, path: str) -> bool:
        """Whether the path is an object."""
        return bool(self.info(path)["type"] == "file")

    def find(self, path: str, *, detail: bool = True) -> dict[str, dict[str, Any]]:
        """All objects below a folder, by path."""
        del detail  # fsspec's own method has it
        found = self._list(f"{path.rstrip('/')}/")
        return {entry["name"]: entry for entry in found if not entry["name"].endswith("/")}

    def get_file(self, path: str, target: str) -> None:
        """Copy one object to a local file."""
        bucket, _, key = path.partition("/")
        with self._get(f"/{bucket}/{_quoted(key)}", {}) as source, Path(target).open("wb") as file:
            shutil.copyfileobj(source, file, 1 << 20)

    def get(self, path: str, target: str, *, recursive: bool = True) -> None:
        """Copy everything below a folder to a local folder; nothing leaves the target.

        Raises:
            ValueError: for a key that points out of the folder.
        """
        del recursive  # fsspec's own method has it
        base = path.rstrip("/")
        for name in self.find(base):
            inside = Path(name[len(base) + 1 :])
            if inside.is_absolute() or ".." in inside.parts:
                raise ValueError(f"the key {name!r} points out of its folder")
            file = Path(target) / inside
            file.parent.mkdir(parents=True, exist_ok=True)
            self.get_file(name, str(file))

    def _list(self, prefix: str) -> Iterator[dict[str, Any]]:
        """Yield the objects whose path starts with a prefix, page after page."""
        bucket, _, key = prefix.partition("/")
        query = {"list-type": "2", "prefix": key}
        while True:
            with self._get(f"/{bucket}", query) as source:
                tree = ET.parse(source).getroot()  # noqa: S314 - from the store that is asked
            space = tree.tag.partition("}")[0] + "}" if tree.tag.startswith("{") else ""
            for item in tree.findall(f"{space}Contents"):
                yield {
                    "name": f"{bucket}/{item.findtext(f'{space}Key', '')}",
                    "size": int(item.findtext(f"{space}Size", "0")),
                    "ETag": item.findtext(f"{space}ETag", ""),
                    "type": "file",
                }
            if tree.findtext(f"{space}IsTruncated", "false") != "true":
                return
            query["continuation-token"] = tree.findtext(f"{space}NextContinuationToken", "")

    def _get(self, path: str, query: Mapping[str, str]) -> IO[bytes]:
        words = "&".join(f"{_quoted(k, '')}={_quoted(v, '')}" for k, v in sorted(query.items()))
        url = f"{self._endpoint}{path}" + (f"?{words}" if words else "")
        headers = signed_headers(url, self._keys, dt.datetime.now(dt.UTC))
        request = urllib.request.Request(url, headers=headers)  # noqa: S310 - endpoint of the user
        try:
            answer: IO[bytes] = urllib.request.urlopen(request, timeout=_TIMEOUT_S)  # noqa: S310
        except urllib.error.HTTPError as error:
            raise _explained(error, path) from error
        return answer


def _quoted(text: str, safe: str = "/") -> str:
    return urllib.parse.quote(text, safe=f"{safe}-_.~")


def _explained(error: urllib.error.HTTPError, path: str) -> Exception:
    """What the store answered, as the error that a local file system would raise."""
    with error:
        body = error.read(4096).decode("utf-8", "replace")
    code = body.partition("<Code>")[2].partition("</Code>")[0] or error.reason
    if error.code in _DENIED:
        return PermissionError(f"the store refuses the credentials ({code})")
    if error.code == 404:
        return FileNotFoundError(path)
    return OSError(f"the store answers {error.code} ({code})")
