"""Writes the page of differences from the published spec."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from trainer.config.deviations import DEVIATIONS, extensions
from trainer.config.relations import REFUSED
from trainer.config.tree import keys

_INTRODUCTION = """\
# Differences from the published spec

All keys of the published `ml_recog` spec are here under their names. This page is generated from
the declarations: `python -m trainer.config.generate`.
"""


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _code(value: object) -> str:
    return "none" if value is None else f"`{json.dumps(value)}`"


def _refused() -> str:
    rows = [(f"`{r.path}`", r.action or "every action", f"`{r.shown}`", r.reason) for r in REFUSED]
    return _table(("key", "action", "only legal value", "reason"), rows)


def _changed() -> str:
    rows = [
        (f"`{d.path}`", d.fact, _code(d.published), _code(d.ours), d.reason) for d in DEVIATIONS
    ]
    return _table(("key", "what", "published", "here", "reason"), rows)


def _added() -> str:
    leaves = (keys()[path] for path in extensions() if keys()[path].section is None)
    rows = [(f"`{key.path}`", _code(key.default), key.info.description) for key in leaves]
    return _table(("key", "default", "meaning"), rows)


def differences_page() -> str:
    """Return the page as Markdown."""
    return "\n".join(
        [
            _INTRODUCTION,
            "## Refused\n",
            "Here these keys cannot do what they promise, so other values are errors.\n",
            _refused(),
            "## Changed\n",
            _changed(),
            "`model.backbone` also takes `timm/<name>` for any timm model. Where a search never\n"
            "proposes 0 (`dataset.prob`, `dataset.re_prob`, weight decays, momenta), a person may\n"
            "write it to switch the thing off. `warmup_iters` counts optimizer steps.\n",
            "Where `model.pretrained_trunk_path` names weights that are known (`lite0`,\n"
            "`timm://...`; files are not), the defaults of `model.backbone`, `input_height`,\n"
            "`input_width`, `dataset.pixel_mean`, `pixel_std`, `interpolation` and `crop_share`\n"
            "are what those weights were trained with, in place of the published ones.\n",
            "## Added\n",
            _added(),
        ]
    )
