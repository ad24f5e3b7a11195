"""Shows files beyond the documentation by their paths: the site has no page to link to."""

from __future__ import annotations

import posixpath
import re
from typing import Any

_LINK = re.compile(r"\[([^\]]+)\]\(((?:\.\./)+[^)\s#]+)(?:#[^)\s]*)?\)")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Replace links that lead out of `docs/`; MkDocs calls this for every page."""
    folder = posixpath.join("docs", posixpath.dirname(page.file.src_uri))

    def shown(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(folder, link[2]))
        if path.startswith("docs/"):
            return link[0]
        text = link[1].strip("`")
        is_path = path.endswith(text.removeprefix("./"))
        return f"`{path}`" if is_path else f"{link[1]} (`{path}`)"

    return _LINK.sub(shown, markdown)
