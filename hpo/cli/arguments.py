"""The argument parser of `hpo`: reports wrong arguments in one line.

argparse's own sentences stop at what is wrong (`invalid int value: 'x'`): they say neither what
must hold nor what to do, and of a misspelt flag they name no near one.
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

_WANTED = {"int": "a whole number", "float": "a number"}
_WRONG_TYPE = re.compile(r"argument (\S+): invalid (int|float) value: (.*)", re.DOTALL)
_NO_VALUE = re.compile(r"argument (\S+): expected (?:one argument|at least one argument)")
_MISSING = re.compile(r"the following arguments are required: (.*)")
_EMPTY = "needs a value, got an empty one (a variable that is not set?)"
_TOGETHER = re.compile(r"argument (\S+): not allowed with argument (\S+)")
_PATHS = (
    "DIR", "FILE", "FILE.html", "FILE.onnx", "FILE|KEY=VALUE", "GALLERY", "JOB", "OTHER", "PLACE",
    "ROOT", "RUN", "[RUN] IMAGE", "STUDY", "W", "WEIGHTS",
)  # fmt: skip
"""Metavars of arguments that may be paths. A shell leaves the ~ of `--out=~/runs` as it is."""
_NO_FLAG = "\0"
"""Marks a word after `--`, which no word begins with: argparse forgets `--` between two passes."""


class WrongWords(SystemExit):
    """The end of a command whose words were refused; standard error has the line."""

    def __init__(self, line: str) -> None:
        super().__init__(2)
        self.line = line


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line with what must hold, what was got and what to do."""

    _is_mixing = False

    def __init__(self, **options: Any) -> None:
        """Flags are taken by their whole names: `--yes` must not come to mean `--yes-expose`."""
        super().__init__(**options | {"allow_abbrev": False})

    def error(self, message: str) -> NoReturn:
        """End with exit code 2."""
        told = " ".join(_in_words(message).replace(_NO_FLAG, "").split())
        more = f" `{self.prog} --help` lists what can be given"
        line = f"{told}{'' if told.endswith('?') else ';'}{more}"
        self._print_message(f"{self.prog}: {line}\n", sys.stderr)
        raise WrongWords(line)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Let flags stand between words that belong together, as in `predict RUN --topk 3 IMAGE`.

        argparse alone takes every word up to the first flag, and has no place for the others.
        """
        if self._is_mixing:
            return super().parse_known_args(args, namespace)
        self._given: dict[str, Sequence[str]] = {}
        words, behind = _split(args or ())
        if self._subparsers:
            self._refuse_flags_before_verb(words)
            return super().parse_known_args(args, namespace)
        self._refuse_unknown_flag(words)
        self._refuse_yes_and_no(words)
        if f"{_NO_FLAG}--" in behind:
            self.error("--: is given twice; a file of that name is written ./--")
        words += behind
        places = self._get_positional_actions()
        takes_several = len(places) > 1 or any(place.nargs in ("*", "+") for place in places)
        asks_for_help = not {"-h", "--help"}.isdisjoint(words)
        if asks_for_help or not takes_several:
            return super().parse_known_args(words, namespace)
        self._is_mixing = True  # the next line calls `parse_known_args` for words and flags in turn
        try:
            return self.parse_known_intermixed_args(words, namespace)
        finally:
            self._is_mixing = False

    def _flags(self) -> list[str]:
        return [flag for action in self._actions for flag in action.option_strings]

    def _refuse_unknown_flag(self, words: Sequence[str]) -> None:
        """Before its value is taken for something else."""
        flags = self._flags()
        for word in words:
            name = word.partition("=")[0]
            if name.startswith("--") and " " not in name and name not in flags:
                self.error(_left_over([word], flags))

    def _refuse_flags_before_verb(self, words: Sequence[str]) -> None:
        """Before the value of a verb's flag is taken for a verb."""
        for word in itertools.takewhile(lambda word: word.startswith("-"), words):
            name = word.partition("=")[0]
            verbs: Any = self._get_positional_actions()[0].choices
            verb = next((other for other in words if other in verbs), "")
            if name in self._flags() or not verb:
                continue
            if name in (known := verbs[verb]._flags()):
                self.error(f"{name}: stands after the verb, as in `{self.prog} {verb} {name}`")
            self.error(_left_over([word], [*self._flags(), *known]))

    def _refuse_yes_and_no(self, words: Sequence[str]) -> None:
        """Refuse `--memory --no-memory`, of which argparse takes the last."""
        for action in self._actions:
            if isinstance(action, argparse.BooleanOptionalAction):
                said = [flag for flag in action.option_strings if flag in words]
                if len(said) > 1:
                    self.error(f"argument {said[1]}: not allowed with argument {said[0]}")

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        """Refuse an empty value, and a second one that would replace the first.

        Both are mostly a shell's variable that is not set, or a command that was edited in haste:
        what was meant is not known.
        """
        arg_strings = [word.removeprefix(_NO_FLAG) for word in arg_strings]
        if action.metavar in _PATHS:
            arg_strings = list(map(_at_home, arg_strings))
        if "" in arg_strings and not isinstance(action, argparse._SubParsersAction):
            self.error(f"{_name_of(action)}: {_EMPTY}")
        if action.option_strings and isinstance(action, argparse._StoreAction):
            first = self._given.setdefault(action.dest, arg_strings)
            if first != arg_strings:
                both = f"{' '.join(first)} and {' '.join(arg_strings)}"
                self.error(f"{_name_of(action)}: is given twice, with {both}; leave one out")
        return super()._get_values(action, arg_strings)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Name the choices; releases of Python spell them differently in their own sentence."""
        if action.choices is not None and value not in action.choices:
            self.error(_wrong_choice(_name_of(action), value, list(map(str, action.choices))))

    def parse_whole(self, words: Sequence[str]) -> argparse.Namespace:
        """Parse all words; one that is left over is refused with the nearest flag of its verb."""
        args: argparse.Namespace
        args, rest = self.parse_known_args(words)
        if rest:
            spoken = _spoken_to(self, args)
            spoken.error(_left_over(rest, spoken._flags()))
        return args


def _split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words up to `--`, and it with those behind, which are no flags."""
    before = list(itertools.takewhile(lambda word: word != "--", words))
    behind = words[len(before) :]
    return before, [*behind[:1], *(f"{_NO_FLAG}{word}" for word in behind[1:])]


def _at_home(word: str) -> str:
    """A path, or a list as `@FILE`, with its ~ spelt out."""
    sign = "@" if word.startswith("@~") else ""
    return sign + os.path.expanduser(word.removeprefix(sign))  # noqa: PTH111 - a Path would take addresses apart


def _name_of(action: argparse.Action) -> str:
    """What a person calls it: its long flag, or the word in its place."""
    return [str(action.metavar or action.dest), *action.option_strings][-1]


def _spoken_to(parser: argparse.ArgumentParser, args: argparse.Namespace) -> Any:
    """The verb's own parser where a verb was given."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return action.choices.get(getattr(args, action.dest, None) or "", parser)
    return parser


def _left_over(rest: Sequence[str], flags: Sequence[str]) -> str:
    from hpo.core.text import nearest

    flag = next((word for word in rest if word.startswith("-")), "")
    if flag:
        name = flag.partition("=")[0]
        longer = next(
            (f"; did you mean {known!r}?" for known in flags if known.startswith(name)), ""
        )
        return f"{name}: no such flag{longer or nearest(name, flags)}"
    # Words after `--` are here with their mark, which `error` takes off.
    return f"{' '.join(rest)}: more than can be taken; put text with spaces in quotes"


def _in_words(message: str) -> str:
    """Put a message of argparse into words of ours."""
    if found := _WRONG_TYPE.fullmatch(message):
        return f"{found[1]}: must be {_WANTED[found[2]]}, got {found[3]}"
    if found := _NO_VALUE.fullmatch(message):
        flag = found[1].rpartition("/")[2]
        return f"{flag}: needs a value, got none; one that begins with - is written {flag}=-1"
    if found := _MISSING.fullmatch(message):
        return f"{found[1]}: must be given, got nothing"
    if found := _TOGETHER.fullmatch(message):
        return f"{found[1]}: cannot stand beside {found[2]}; leave one of them out"
    return message


def _wrong_choice(name: str, got: Any, known: Sequence[str]) -> str:
    from hpo.core.text import nearest

    guess = nearest(str(got), known)
    if guess and len(known) > 5:
        return f"{name}: there is no {got!r}{guess}"
    return f"{name}: must be one of {', '.join(known)}, got {got!r}{guess}"
