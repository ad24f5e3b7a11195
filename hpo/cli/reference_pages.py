"""Generates the reference pages: verbs, study files, the trainer's spec.

python -m hpo.cli.reference_pages            writes docs/reference/
python -m hpo.cli.reference_pages --check    exits with 1 where a page is not what code says
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from hpo.core.budget import Budget
from hpo.core.text import markdown_table
from hpo.study.field_docs import field_texts

WIDTH = "100"
"""Columns of the printed help."""
_NOTE = "<!-- Written by `python -m hpo.cli.reference_pages`; edit the code instead. -->\n"


def cli_page() -> str:
    """Return the help of every verb."""
    from hpo.cli.main import VERBS, build_parser

    os.environ["COLUMNS"] = WIDTH
    parser = build_parser(None)
    (verbs,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    parts = [f"# Command line\n\n{_NOTE}", f"```text\n{parser.format_help()}```\n"]
    for name in VERBS:
        parts.append(f"## hpo {name}\n\n```text\n{verbs.choices[name].format_help()}```\n")
    return "\n".join(parts)


def study_page() -> str:
    """Return every key of a study file, with its default and what it does."""
    from hpo.study.sections import DataSources, SearchOptions
    from hpo.study.spec import StudySpec

    sections = (
        ("", StudySpec, "Study file"),
        ("data.", DataSources, "data"),
        ("search.", SearchOptions, "search"),
    )
    parts = [f"# Study file\n\n{_NOTE}"]
    parts.append(
        "A study file is YAML; `hpo search STUDY.yaml` reads it, flags win over it. "
        "Paths in it are relative to the file. Unknown keys are errors.\n"
    )
    for prefix, cls, title in sections:
        if prefix:
            parts.append(f"## {title}\n")
        rows = [(f"`{prefix}{name}`", *more) for name, *more in _fields(cls)]
        parts += markdown_table(("key", "default", "what it does"), rows)
        parts.append("")
    return "\n".join(parts)


def spec_page() -> str:
    """Return every key of the trainer's training spec, from its schema."""
    from hpo.study.trainers import find_trainer

    schema = find_trainer("ml_recog").skill_dir / "schemas" / "train.schema.json"
    data = json.loads(schema.read_text(encoding="utf-8"))
    searched = set(data["automl_default_parameters"])
    parts = [f"# Training spec\n\n{_NOTE}"]
    parts.append(
        "Keys of `ml_recog train -e spec.yaml`, and of `--set KEY=VALUE`. Bold ones are searched "
        "by default.\n"
    )
    rows = [
        (
            f"**`{name}`**" if name in searched else f"`{name}`",
            leaf.get("type", ""),
            _code(leaf.get("default")),
            _legal(leaf),
            leaf.get("description", ""),
        )
        for name, leaf in _leaves(data["properties"], "")
    ]
    parts += markdown_table(("key", "type", "default", "legal", "what it does"), rows)
    return "\n".join(parts) + "\n"


PAGES = {"cli.md": cli_page, "study_file.md": study_page, "spec.md": spec_page}


def _fields(kind: type[Any]) -> Iterator[tuple[str, str, str]]:
    """Yield name, default and meaning of a dataclass's fields."""
    texts = field_texts(kind)
    for item in fields(kind):
        plain = str(item.default) if isinstance(item.default, Budget) else item.default
        default = "" if item.default in (MISSING, ()) else _code(plain)
        yield item.name, default, texts[item.name]


def _leaves(properties: Any, prefix: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, node in properties.items():
        if not isinstance(node, dict):  # the dialect also puts lists of names there
            continue
        inner = node.get("properties")
        if isinstance(inner, dict) and inner:
            yield from _leaves(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", node


def _legal(leaf: dict[str, Any]) -> str:
    if leaf.get("enum"):
        return ", ".join(_code(option) for option in leaf["enum"] if option != "")
    low, high = leaf.get("minimum"), leaf.get("maximum")
    if low is None and high is None:
        return ""
    return f"{_bound(low, '-inf')} to {_bound(high, 'inf')} {leaf.get('math_cond', '')}".strip()


def _bound(value: Any, otherwise: str) -> str:
    return otherwise if value is None or str(value) in ("inf", "-inf") else f"{value:g}"


def _code(value: Any) -> str:
    if value in ("", None):
        return ""
    text = value if isinstance(value, str) else json.dumps(value)
    return f"`{text}`"


def main(argv: list[str] | None = None) -> int:
    """Write the pages, or compare them with what is there."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    parser.add_argument("--folder", type=Path, default=Path("docs/reference"))
    args = parser.parse_args(argv)
    stale = []
    for name, make in PAGES.items():
        path, text = args.folder / name, make()
        if args.check:
            if not path.is_file() or path.read_text(encoding="utf-8") != text:
                stale.append(str(path))
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    for path in stale:
        print(
            f"{path}: not what the code says; run python -m hpo.cli.reference_pages",
            file=sys.stderr,
        )
    return int(bool(stale))


if __name__ == "__main__":
    sys.exit(main())
