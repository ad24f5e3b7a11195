"""Reads what a request says about the search: on, off, or something that can be read both ways.

A request is cut into sentences, clauses and words of known kinds (`request_words.yaml`). A name of
the search with an odd number of denials around it ("turn off", "not", "without", "is disabled")
asks for it to be off, with an even number to be on; "plain training" is a denial by itself.
Reports of the past, conditions, doubts and open questions decide nothing.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

from hpo.automl.request_text import normalize
from hpo.core.yaml_io import read_yaml

WORDS = Path(__file__).with_name("request_words.yaml")
_LETTERS = {
    "search": "N", "to search": "V", "plain": "P", "pronoun": "I",
    "switch off": "d", "without": "n", "not": "t", "use": "u", "enable": "e",
    "is off": "F", "is on": "O",
    "stand in": "k", "beside": "w", "past": "y", "past time": "Y", "doubt": "h", "choice": "q",
    "next": "s", "now": "a", "postposed if": "g", "auxiliary": "c", "filler": "f", "other": "x",
    "comma": "|", "or": "/", "if": "{", "because": "<", "stop": "}", "question": "?",
}  # fmt: skip
"""Kind of word -> the letter that stands for it in a clause; z is an unknown Chinese word."""
_DENIALS, _COMMANDS = frozenset("dntF"), frozenset("dute")
_BEFORE = re.compile(
    r"(?:(?:d[fcOa]*x{0,2}z?|n[fc]*x?|[teF][fca]*|t[fc]*[xz]+[fc]*(?=u)|u[fcO]*[xz]?|h)[fc]*)*$"
)
"""Kinds of words that bear on the mention behind them; an unknown word parts them from it."""
_BEHIND = re.compile(
    r"(?P<said>[fcI]*t?[fca]*[FO])"
    r"|(?P<done>[fcI]*(?:t[fc]*)*(?:[due][fcaFO]*)+$)|(?P<denied>[fc]*[tn][fcO]*$)"
)
_IS_COMPARED = re.compile(r"w[fcY]*x?[fc]*$|Y[fc]*$")
_UNKNOWN = re.compile(r"[a-z0-9'\u00a4%.@#$&+~^=|/\\]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a request says about the search."""

    is_on: bool | None = None
    """None where it says nothing that decides."""
    phrase: str = ""
    """The words that decide, as they were written."""
    unclear: str = ""
    """Words that can be read both ways, where nothing else decides."""


@dataclass(slots=True)
class _Mention:
    kind: str
    start: int
    end: int
    is_on: bool | None
    """None for a bare name, which decides by its surroundings alone."""
    carries: bool = False
    """Whether a denial before it also holds behind an `or`."""


@dataclass(slots=True)
class _Clause:
    joint: str = ""
    """What splits it from the words before."""
    kinds: str = ""
    """A letter for every word."""
    spans: list[tuple[int, int]] = field(default_factory=list)
    mentions: list[_Mention] = field(default_factory=list)
    holds: str = ""
    """`condition` or `fallback` where it holds under a condition alone."""


@dataclass(frozen=True, slots=True)
class _Finding:
    is_on: bool | None
    """None: can be read both ways."""
    start: int
    end: int
    is_reason: bool = False


@dataclass(frozen=True, slots=True)
class _Words:
    patterns: tuple[tuple[str, re.Pattern[str]], ...]
    any_of_them: re.Pattern[str]
    about: dict[str, re.Pattern[str]]
    """Patterns of whole clauses and sentences."""


def read_request(request: str) -> Reading:
    """What the words of a request say about the search; the last words that decide win.

    Args:
        request: sentences in English or Chinese.
    """
    found = _Reader(request).read()
    decided = [one for one in found if one.is_on is not None]
    decided = [one for one in decided if not one.is_reason] or decided
    if decided:
        return Reading(is_on=decided[-1].is_on, phrase=_as_written(request, decided[-1]))
    return Reading(unclear=_as_written(request, found[-1])) if found else Reading()


def _as_written(request: str, found: _Finding) -> str:
    words = " ".join(request[found.start : found.end].split())
    return words.strip(" ,;:.!?，。；：！？、")


@functools.cache
def _words() -> _Words:
    data = read_yaml(WORDS)
    fragments: dict[str, str] = {}
    for name, text in data.pop("fragments").items():
        fragments[name] = _filled(text, fragments)
    patterns = [
        (_LETTERS[kind], _compiled(_filled(pattern, fragments)))
        for kind, lines in data.pop("words").items()
        for line in lines
        for pattern in line.split(" | ")
    ]
    about = {name: re.compile("|".join(lines)) for name, lines in data.items()}
    any_of_them = re.compile("|".join(pattern.pattern for _, pattern in patterns))
    return _Words(tuple(patterns), any_of_them, about)


def _filled(text: str, fragments: dict[str, str]) -> str:
    return re.sub(r"\{([a-z_]+)\}", lambda match: fragments[match[1]], text)


def _compiled(pattern: str) -> re.Pattern[str]:
    """A pattern of whole words; Chinese has no white space between them, or anywhere."""
    if re.search(r"[\u4e00-\u9fff]", pattern):
        return re.compile(re.sub(r"(?<=[\u4e00-\u9fff])(?=[\u4e00-\u9fff])", " *", pattern))
    spaced = pattern.replace(" ?", "\0").replace(" ", " +").replace("\0", " *")
    begin = r"(?<![a-z0-9])" if re.match(r"[\w(]", pattern) else ""
    end = r"(?![a-z0-9'])" if re.search(r"[\w)+?}]$", pattern) else ""
    return re.compile(f"{begin}(?:{spaced}){end}")


class _Reader:
    """One request on its way from text to findings."""

    def __init__(self, request: str) -> None:
        self._text = normalize(request)
        self._about = _words().about
        self._knows_search = False
        self._found: list[_Finding] = []
        self._asked: _Finding | None = None
        """A question that waits for its answer."""

    def read(self) -> list[_Finding]:
        """All that bears on the search, in order."""
        for clauses, ending in self._sentences():
            self._read_sentence(clauses, ending)
        if self._asked is not None:
            self._found.append(_Finding(None, self._asked.start, self._asked.end))
        return self._found

    def _tokens(self) -> Iterator[tuple[str, int, int]]:
        position, before = 0, ""
        while position < len(self._text):
            if self._text[position] == " ":
                position += 1
                continue
            kind, end = self._token(position)
            if kind == "V" and self._about["articles"].fullmatch(before):
                kind = "N"
            yield kind, position, end
            before = self._text[position:end].split()[-1]
            position = end

    def _token(self, position: int) -> tuple[str, int]:
        words, kind, end = _words(), "", position
        known = words.patterns if words.any_of_them.match(self._text, position) else ()
        for letter, pattern in known:
            match = pattern.match(self._text, position)
            if match and match.end() > end:
                kind, end = letter, match.end()
        if kind:
            return kind, end
        match = _UNKNOWN.match(self._text, position)
        return ("x", match.end()) if match else ("z", position + 1)

    def _sentences(self) -> Iterator[tuple[list[_Clause], str]]:
        clauses, clause = [], _Clause()
        for kind, start, end in self._tokens():
            if kind in "|/{<}?":
                if clause.kinds:
                    clauses.append(clause)
                is_weaker = kind == "|" and not clause.kinds
                clause = _Clause(joint=clause.joint if is_weaker else kind)
                if kind in "}?" and clauses:
                    yield clauses, kind
                    clauses, clause = [], _Clause()
            elif kind == "z" and clause.kinds.endswith("z"):
                clause.spans[-1] = (clause.spans[-1][0], end)
            else:
                clause.kinds += kind
                clause.spans.append((start, end))
        if clause.kinds:
            clauses.append(clause)
        if clauses:
            yield clauses, ""

    def _text_of(self, *clauses: _Clause) -> str:
        return self._text[clauses[0].spans[0][0] : clauses[-1].spans[-1][1]]

    def _read_sentence(self, clauses: list[_Clause], ending: str) -> None:
        text = self._text_of(*clauses)
        if self._is_answer(clauses[0]):
            clauses = clauses[1:]
        self._knows_search |= any(set(clause.kinds) & set("NV") for clause in clauses)
        for clause in clauses:
            self._find_mentions(clause)
        if ending == "?" and self._about["asks for facts"].search(text):
            return
        is_open = ending == "?" or self._about["asks"].search(text) is not None
        is_open = is_open and not self._about["polite"].search(text)
        found = self._weigh(clauses)
        if found and (is_open or any("q" in clause.kinds for clause in clauses)):
            self._asked = next((f for f in reversed(found) if f.is_on is not None), found[-1])
        elif found:
            self._asked = None
            self._found += found

    def _is_answer(self, clause: _Clause) -> bool:
        """Whether a clause is a yes or a no and nothing else; it then decides what was asked."""
        text = self._text_of(clause)
        is_yes = self._about["says yes"].fullmatch(text) is not None
        if not is_yes and not self._about["says no"].fullmatch(text):
            return False
        asked, self._asked = self._asked, None
        if asked is not None and asked.is_on is not None:
            end = clause.spans[-1][1]
            self._found.append(_Finding(asked.is_on is is_yes, asked.start, end))
        return True

    def _find_mentions(self, clause: _Clause) -> None:
        kinds = clause.kinds
        places = [i for i, kind in enumerate(kinds) if kind in "NVP"]
        if not places and self._knows_search:
            places = [i for i, kind in enumerate(kinds) if kind == "I"]
            is_on = sum(kind in _DENIALS for kind in kinds) % 2 == 0
            if self._is_afterthought(clause) and not (is_on and set(kinds) & set("ut")):
                span = clause.spans[0][0], clause.spans[-1][1]
                clause.mentions.append(_Mention("I", *span, is_on=is_on))
        begin = 0
        for place, after in zip_longest(places, places[1:]):
            begin = self._add_mention(clause, begin, place, after)

    def _is_afterthought(self, clause: _Clause) -> bool:
        """Whether a clause says only what is done, with what was named before: `no, skip`."""
        if re.fullmatch(r"[fcsa]*[dute][dutefcasFO]*", clause.kinds):
            return bool(clause.joint not in ("", "}") or "a" in clause.kinds or self._asked)
        return (
            self._asked is not None and re.fullmatch(r"[fca]*[FO][fca]*", clause.kinds) is not None
        )

    def _add_mention(self, clause: _Clause, begin: int, place: int, after: int | None) -> int:
        """Read the words around a mention; returns where those of the next one begin."""
        kinds, kind = clause.kinds, clause.kinds[place]
        before, behind = kinds[begin:place], kinds[place + 1 : after]
        chain = _BEFORE.search(before)
        first = place - len(chain[0] if chain else "")
        said = _BEHIND.match(behind)
        if said and said["said"] is None and after is not None:
            said = None
        last = place + (said.end() if said else 0)
        words = kinds[first:place] + kinds[place + 1 : last + 1]
        if re.match(r"[fc]*k", behind) or _IS_COMPARED.search(before):
            return last + 1
        if kind == "I" and not _stands_for_search(words, kinds[last + 1 :]):
            return last + 1
        is_on: bool | None = (sum(word in _DENIALS for word in words) + (kind == "P")) % 2 == 0
        if kind == "N" and not set(words) & set("dnteuFO"):
            is_on = None
        while first < place and kinds[first] in "fc":
            first += 1
        span = clause.spans[first][0], clause.spans[last][1]
        carries = bool(set(kinds[first:place]) & set("tn"))
        clause.mentions.append(_Mention(kind, *span, is_on=is_on, carries=carries))
        return last + 1

    def _weigh(self, clauses: list[_Clause]) -> list[_Finding]:
        """What the clauses of one sentence decide, or leave unclear."""
        self._find_conditions(clauses)
        found: list[_Finding] = []
        before: list[_Mention] = []
        for clause in clauses:
            mentions = [] if self._is_past(clause) else clause.mentions
            if clause.joint == "/" and mentions and before and _join(before[-1], mentions[0]):
                del found[-1:]
            new = []
            for mention in mentions:
                new.append(self._weigh_mention(clause, mention, before))
                before.append(mention)
            found += _agreed(clause, mentions, [one for one in new if one])
            if found and not mentions and re.fullmatch(r"[fcx]*h[fcxh]*", clause.kinds):
                found[-1] = _Finding(None, found[-1].start, clause.spans[-1][1])
        return found

    def _weigh_mention(
        self, clause: _Clause, mention: _Mention, before: list[_Mention]
    ) -> _Finding | None:
        is_on = mention.is_on
        if clause.holds == "fallback" or _follows_search(clause, mention, before):
            return None
        if is_on is None and not clause.holds and set(clause.kinds) & set("asq"):
            is_on = True
        is_doubt = "h" in clause.kinds or mention.kind == "?"
        if is_doubt or (clause.holds and is_on is not True):
            return _Finding(None, mention.start, mention.end)
        if is_on is None and (len(clause.kinds) > 1 or before):
            return None
        return _Finding(is_on is not False, mention.start, mention.end, clause.joint == "<")

    def _is_past(self, clause: _Clause) -> bool:
        """Whether a clause reports what was, rather than says what shall be."""
        text = self._text_of(clause)
        if "y" in clause.kinds or text.startswith(("trained", "used ", "ran ")):
            return True
        if "Y" not in clause.kinds:
            return False
        is_command = clause.kinds.lstrip("fcxs")[:1] in _COMMANDS or text.startswith("train")
        return not is_command or clause.kinds.startswith("Y")

    def _find_conditions(self, clauses: list[_Clause]) -> None:
        """Mark what holds under a condition: what stands behind it, else the clause before it."""
        holds = ""
        for index, clause in enumerate(clauses):
            if "g" in clause.kinds:
                holds = self._kind_of_condition(clause)
            elif clause.joint == "{":
                holds = self._kind_of_condition(clause)
                is_behind = index > 0 and not any(c.mentions for c in clauses[index + 1 :])
                if is_behind and not clauses[index - 1].holds:
                    clauses[index - 1].holds = holds
            clause.holds = holds

    def _kind_of_condition(self, clause: _Clause) -> str:
        """`fallback` where the search was wanted: it has failed, or has ended."""
        marker = self._text[: clause.spans[0][0]].strip(" ,;:")
        is_about = bool(set(clause.kinds) & set("NVI")) and self._about["failure"].search(
            self._text_of(clause)
        )
        return "fallback" if is_about or self._about["else"].search(marker) else "condition"


def _stands_for_search(words: str, rest: str) -> bool:
    """Whether a pronoun means the search: it is switched, or denied with nothing else behind."""
    if set(words) & set("deF") or ("O" in words and set(words) & set("ut")):
        return True
    return "t" in words and not rest.strip("fcas")


def _follows_search(clause: _Clause, mention: _Mention, before: list[_Mention]) -> bool:
    """Whether a plain training comes after the search that was asked for."""
    is_wanted = any(m.kind in "NV" and m.is_on is not False for m in before)
    return mention.kind == "P" and "s" in clause.kinds and is_wanted


def _join(left: _Mention, right: _Mention) -> bool:
    """Apply a denial to both sides of `or`; returns whether the result is unclear."""
    if left.carries:
        right.is_on = left.is_on if right.is_on is None else not right.is_on
    elif right.is_on is None and left.kind == "N":
        right.is_on = left.is_on
    elif (left.is_on is not False) != (right.is_on is not False):
        right.kind = "?"
        return True
    return False


def _agreed(clause: _Clause, mentions: list[_Mention], found: list[_Finding]) -> list[_Finding]:
    """What a clause says, or one unclear finding where it says both and does not correct itself."""
    decided = {mention.is_on for mention in mentions if mention.is_on is not None}
    if len(decided) > 1 and found and not set(clause.kinds) & set("as"):
        return [_Finding(None, mentions[0].start, mentions[-1].end)]
    return found
