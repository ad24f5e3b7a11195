"""The page that names the keys of `--json`, beside what verbs really print."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs/reference/json_output.md"


def sections():
    """The text of each section, by the words after `hpo`."""
    parts = re.split(r"^## (?:hpo )?", PAGE.read_text(), flags=re.MULTILINE)[1:]
    return {tuple(part.partition("\n")[0].split()): part.partition("\n")[2] for part in parts}


SECTIONS = sections()


def section_of(args):
    """The section of what was asked for: that with the most words that fit."""

    def fits(word):
        if word.startswith("--"):
            return getattr(args, word[2:].replace("-", "_"), None) not in (None, False)
        if word.isupper():
            return bool(getattr(args, word.lower(), None))
        return word in (getattr(args, "action", None), getattr(args, "what", None))

    found = [key for key in SECTIONS if key[0] == args.verb and all(map(fits, key[1:]))]
    assert found, f"no section of docs/reference/json_output.md is for hpo {args.verb}"
    return max(found, key=len)


def check(args, data):
    """Demand that the page names the keys of an answer, and that those are there which it promises."""
    key = section_of(args)
    text = SECTIONS[key]
    named = set(re.findall(r"`(\w+)`", text))
    promise = re.search(r"^- always: (.*?)(?=^- |^$|\Z)", text, flags=re.MULTILINE | re.DOTALL)
    always = set(re.findall(r"`(\w+)`", promise[1]))
    for row in data if isinstance(data, list) else [data]:
        where = f"docs/reference/json_output.md, hpo {' '.join(key)}"
        assert always <= row.keys(), f"{where}: {always - row.keys()} is promised"
        assert row.keys() <= named, f"{where}: {row.keys() - named} is not named"
