"""Writes a study file, and a trainer's spec file, to begin with: every key with what it means.

Keys of a study that stand at their default are commented out, ready to be taken up.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

import yaml

from hpo.core.budget import Budget
from hpo.study.field_docs import field_texts
from hpo.study.spec import SCHEMA_VERSION, StudySpec

_WIDTH = 100

_STUDY_HEAD = """\
# A study: what is searched, on which pictures, for how long. Lines that begin with `#` and a key
# show its default; take the sign away to change it. Flags of `hpo search` win over this file.
# Paths are relative to this file.
"""
_SPEC_HEAD = """\
# The trainer's spec, each key with its default. `ml_recog train -e FILE` reads it, `KEY=VALUE`
# after it changes single keys. Bounds stand in brackets.
"""


def study_text(given: Mapping[str, Any]) -> str:
    """Return a study file.

    Args:
        given: values by dotted key (`data.train`, `weights`) that stand in it uncommented.
    """
    given = {"schema_version": SCHEMA_VERSION, **given}
    return "\n".join([_STUDY_HEAD.rstrip(), *_study_lines(StudySpec, given, "")]) + "\n"


def _study_lines(kind: type[Any], given: Mapping[str, Any], prefix: str) -> Iterator[str]:
    texts, indent = field_texts(kind), "  " * prefix.count(".")
    for item in fields(kind):
        key = prefix + item.name
        default = item.default_factory() if item.default_factory is not MISSING else item.default
        yield ""
        if is_dataclass(default) and not isinstance(default, Budget):
            yield from _comment(texts[item.name].split(";")[0].rstrip(".") + ".", indent)
            yield f"{indent}{item.name}:"
            yield from _study_lines(type(default), given, f"{key}.")
            continue
        yield from _comment(texts[item.name], indent)
        if key in given:
            yield f"{indent}{item.name}: {_value(given[key])}"
        else:
            yield f"{indent}# {item.name}: {_value(default)}"


def spec_text(template: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """Return a spec file with what the schema says of each key.

    Args:
        template: the spec with its defaults, nested.
        schema: the JSON schema of the same action.
    """
    lines = _spec_lines(template, schema.get("properties", {}), "")
    return "\n".join([_SPEC_HEAD.rstrip(), *lines]) + "\n"


def _spec_lines(
    spec: Mapping[str, Any], properties: Mapping[str, Any], indent: str
) -> Iterator[str]:
    for name, value in spec.items():
        node = properties.get(name, {})
        inner = node.get("properties") if isinstance(node, dict) else None
        yield ""
        if isinstance(value, Mapping) and value:
            yield from _comment(node.get("description", ""), indent)
            yield f"{indent}{name}:"
            yield from _spec_lines(value, inner or {}, indent + "  ")
            continue
        yield from _comment(f"{node.get('description', '')} {_legal(node)}".strip(), indent)
        yield f"{indent}{name}: {_value(value)}"


def _legal(node: Mapping[str, Any]) -> str:
    if node.get("enum"):
        return f"[{', '.join(str(option) for option in node['enum'] if option != '')}]"
    low, high = (node.get(name) for name in ("minimum", "maximum"))
    bounds = [str(bound) for bound in (low, high) if str(bound) not in ("None", "inf", "-inf")]
    if len(bounds) == len((low, high)):
        return f"[{bounds[0]} to {bounds[1]}]"
    if not bounds:
        return ""
    return f"[at least {low}]" if str(low) == bounds[0] else f"[at most {high}]"


def _comment(text: str, indent: str) -> Iterator[str]:
    for line in textwrap.wrap(text, _WIDTH - len(indent) - 2):
        yield f"{indent}# {line}"


def _value(value: Any) -> str:
    """Write a value on one line of YAML."""
    if isinstance(value, Budget):
        return value.to_text()
    plain = json.loads(json.dumps(value))
    text = yaml.safe_dump(plain, default_flow_style=True, width=10**6, allow_unicode=True)
    return str(text).removesuffix("\n").removesuffix("\n...").strip()
