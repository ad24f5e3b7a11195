"""Notes on a folder of classes: which files were skipped, and what else is unusual."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trainer.data.formats import EXTRA, HEIF_EXTENSIONS, ending
from trainer.data.names import name_text
from trainer.data.tree import Found

_NAMES_SHOWN = 8
_ENDINGS_SHOWN = 5
_NO_ENDING = " without an ending"

_MANY = 0.1
"""Share of the pictures from which on skipped files deserve a warning."""
_TEXTS = frozenset(
    {".txt", ".md", ".rst", ".json", ".jsonl", ".xml", ".csv", ".tsv", ".yaml", ".yml", ".html"}
    | {".htm", ".ini", ".cfg", ".toml", ".log", ".py", ".sh", ".url", ".db"}
)
_TEXT_NAMES = frozenset({"readme", "license", "licence", "copying", "notice", "changelog"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """One thing worth knowing of a folder of classes; nothing that keeps it from being used."""

    kind: str
    severity: Literal["info", "warning"]
    text: str
    paths: tuple[Path, ...] = ()


def name_list(names: Sequence[str], *, shown: int = _NAMES_SHOWN) -> str:
    """The first names, and how many more there are: for messages of one line."""
    rest = len(names) - shown
    first = ", ".join(map(name_text, names[:shown]))
    return first + (f" and {rest} more" if rest > 0 else "")


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun: `1 file`, `2 files`, `3 classes`."""
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"


def skipped_notes(walks: Iterable[tuple[Path, Found]], num_pictures: int) -> list[Note]:
    """Say what was passed over on walks of one folder of classes.

    Args:
        walks: folders, and what was found relative to each.
        num_pictures: that are used.
    """
    walks = list(walks)

    def gathered(kind: str) -> list[Path]:
        return [root / path for root, found in walks for path in getattr(found, kind)]

    others = gathered("others")
    told = [
        _other_files([path for path in others if not _is_text(path)], num_pictures),
        _note("text_file", "info", [path for path in others if _is_text(path)], by_ending),
        _note("hidden_picture", "warning", gathered("hidden"), _hidden),
        _note("dead_link", "warning", gathered("dead_links"), _dead_links),
        _note("looped_link", "info", gathered("loops"), _loops),
    ]
    return [note for note in told if note is not None]


def by_ending(paths: Sequence[Path]) -> str:
    """Say how many files of which endings were skipped, the most frequent first."""
    counts = Counter(ending(path.name) for path in paths)
    words = [
        counted(number, f"{name_text(end)} file" if end else "file") + ("" if end else _NO_ENDING)
        for end, number in counts.most_common(_ENDINGS_SHOWN)
    ]
    rest = len(paths) - sum(number for _, number in counts.most_common(_ENDINGS_SHOWN))
    words += [f"{rest} others"] if rest else []
    text = f"{and_list(words)} {'was' if len(paths) == 1 else 'were'} skipped"
    lacking = and_list(sorted(HEIF_EXTENSIONS & counts.keys()))  # else they were no other files
    return f"{text}; to read {lacking}, install hpo-recognition[{EXTRA}]" if lacking else text


def and_list(words: Sequence[str]) -> str:
    """Words as in a sentence: `a, b and c`."""
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def _other_files(paths: Sequence[Path], num_pictures: int) -> Note | None:
    """Files that somebody may have meant as pictures."""
    is_much = len(paths) >= _MANY * num_pictures
    return _note("other_file", "warning" if is_much else "info", paths, by_ending)


def _note(
    kind: str,
    severity: Literal["info", "warning"],
    paths: Sequence[Path],
    say: Callable[[Sequence[Path]], str],
) -> Note | None:
    if not paths:
        return None
    return Note(kind=kind, severity=severity, text=say(paths), paths=tuple(sorted(paths)))


def _hidden(paths: Sequence[Path]) -> str:
    many = len(paths) > 1
    return (
        f"{len(paths)} {'pictures or folders' if many else 'picture or folder'} of pictures whose "
        f"{'names begin' if many else 'name begins'} with a dot {'were' if many else 'was'} skipped"
    )


def _dead_links(paths: Sequence[Path]) -> str:
    lead = "lead" if len(paths) > 1 else "leads"
    return f"{counted(len(paths), 'link')} that {lead} nowhere skipped: {_names(paths)}"


def _loops(paths: Sequence[Path]) -> str:
    lead = "lead" if len(paths) > 1 else "leads"
    return (
        f"{counted(len(paths), 'link')} that {lead} to a folder that is read anyway skipped: "
        f"{_names(paths)}"
    )


def _names(paths: Sequence[Path]) -> str:
    return name_list(sorted(path.name for path in paths))


def _is_text(path: Path) -> bool:
    end = ending(path.name)
    return end in _TEXTS or (not end and path.name.lower() in _TEXT_NAMES)
