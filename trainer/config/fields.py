"""How a spec key is declared: its type, bounds and meaning, beside its default in a dataclass.

The schemas, the templates and the checks of `trainer.spec` are all read from these declarations.
Two ranges are kept apart: `minimum`, `maximum` and `math_cond` say what a search may propose and
appear in the published dialect; `valid_min` and `valid_max` say what a person may write where that
is wider (0 switches a thing off) or where the dialect states no bound at all.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, TypedDict, Unpack

Kind = Literal[
    "float", "int", "bool", "string", "categorical", "list", "list_3", "collection", "sources"
]
"""Type names of the published dialect; `sources` is a collection
whose children the dialect leaves open."""

Holds = Literal["", "path", "weights"]
"""What a text is beyond one: `path` a file or folder, `weights` a file or an address of weights."""

MANDATORY = "???"
"""The mark for a value that has no default and must be given."""

_KEY = "spec_key"


class FieldMetadata(TypedDict, total=False):
    """What can be declared of any key; see `KeyInfo`."""

    minimum: float
    maximum: float
    math_cond: str
    valid_min: float
    valid_max: float
    positive_from: float
    pattern: str
    pattern_hint: str
    automl_enabled: bool
    depends_on: tuple[str, ...]
    is_parent: bool
    is_popular: bool
    is_extension: bool
    holds: Holds


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyInfo:
    """Everything declared of one spec key but its default."""

    kind: Kind
    description: str
    minimum: float | None = None
    maximum: float | None = None
    math_cond: str = ""
    """A condition of the dialect, such as `> 0.0`."""
    valid_min: float | None = None
    """Least value a person may write, in place of `minimum` and the lower conditions."""
    valid_max: float | None = None
    positive_from: float | None = None
    """Least value above 0, where 0 is legal too."""
    options: tuple[str, ...] = ()
    pattern: str = ""
    """Regular expression of values accepted beside `options`."""
    pattern_hint: str = ""
    """The pattern in words."""
    item: type = float
    """Type of a list's members."""
    lengths: tuple[int, ...] = ()
    """Lengths a list may have; any when empty."""
    automl_enabled: bool | None = None
    """True: searched by default. False: never. None: searched when asked."""
    depends_on: tuple[str, ...] = ()
    is_parent: bool = False
    is_popular: bool = False
    is_optional: bool = False
    """None stands for "not given"."""
    is_mandatory: bool = False
    """Stands as `???` in templates; None until given."""
    is_extension: bool = False
    """Not a published key of the network."""
    holds: Holds = ""


def info_of(declared: dataclasses.Field[Any]) -> KeyInfo:
    """Return the declaration behind a dataclass field."""
    info: KeyInfo = declared.metadata[_KEY]
    return info


def _declare(info: KeyInfo, default: Any) -> Any:
    return dataclasses.field(default=default, metadata={_KEY: info})


def real(default: float, description: str, **facts: Unpack[FieldMetadata]) -> Any:
    """Declare a float key."""
    return _declare(KeyInfo(kind="float", description=description, **facts), default)


def positive(default: float, description: str, **facts: Unpack[FieldMetadata]) -> Any:
    """Declare a float key that a search draws from above 0, up to 1 or the given maximum."""
    facts.setdefault("maximum", 1.0)
    facts["minimum"], facts["math_cond"] = 0.0, "> 0.0"
    return real(default, description, **facts)


def integer(default: int, description: str, **facts: Unpack[FieldMetadata]) -> Any:
    """Declare an int key."""
    return _declare(KeyInfo(kind="int", description=description, **facts), default)


def flag(default: bool, description: str, **facts: Unpack[FieldMetadata]) -> Any:
    """Declare a bool key."""
    return _declare(KeyInfo(kind="bool", description=description, **facts), default)


def text(default: str, description: str, **facts: Unpack[FieldMetadata]) -> Any:
    """Declare a string key with a default."""
    return _declare(KeyInfo(kind="string", description=description, **facts), default)


def optional_text(description: str, **facts: Unpack[FieldMetadata]) -> Any:
    """Declare a string key that may be absent (None)."""
    info = KeyInfo(kind="string", description=description, is_optional=True, **facts)
    return _declare(info, None)


def bookkeeping(description: str, **facts: Unpack[FieldMetadata]) -> Any:
    """Declare an optional string that decides nothing: specs that differ in it alone are equal."""
    info = KeyInfo(kind="string", description=description, is_optional=True, **facts)
    return dataclasses.field(default=None, metadata={_KEY: info}, compare=False)


def mandatory_text(description: str, **facts: Unpack[FieldMetadata]) -> Any:
    """Declare a string key that its action cannot do without."""
    info = KeyInfo(kind="string", description=description, is_mandatory=True, **facts)
    return _declare(info, None)


def choice(
    default: str, options: tuple[str, ...], description: str, **facts: Unpack[FieldMetadata]
) -> Any:
    """Declare a key that takes one of several names."""
    info = KeyInfo(kind="categorical", description=description, options=options, **facts)
    return _declare(info, default)


def sequence(
    default: tuple[Any, ...] | None,
    item: type,
    description: str,
    *,
    lengths: tuple[int, ...] = (),
    kind: Kind = "list",
    **facts: Unpack[FieldMetadata],
) -> Any:
    """Declare a list key; a default of None makes it mandatory."""
    facts.setdefault("automl_enabled", False)
    info = KeyInfo(
        kind=kind,
        description=description,
        item=item,
        lengths=lengths,
        is_mandatory=default is None,
        **facts,
    )
    return _declare(info, default)


def optional_sequence(
    item: type, description: str, *, lengths: tuple[int, ...], **facts: Unpack[FieldMetadata]
) -> Any:
    """Declare a list key that may be absent (None); no search takes it."""
    facts.setdefault("automl_enabled", False)
    info = KeyInfo(
        kind="list", description=description, item=item, lengths=lengths, is_optional=True, **facts
    )
    return _declare(info, None)


def section(config: type, description: str, **facts: Unpack[FieldMetadata]) -> Any:
    """Declare a nested group of keys, each with its own defaults."""
    facts.setdefault("automl_enabled", False)
    info = KeyInfo(kind="collection", description=description, **facts)
    return dataclasses.field(default_factory=config, metadata={_KEY: info})


def sources(config: type, description: str, **facts: Unpack[FieldMetadata]) -> Any:
    """Declare a nested group whose children the dialect leaves open."""
    facts.setdefault("automl_enabled", False)
    info = KeyInfo(kind="sources", description=description, **facts)
    return dataclasses.field(default_factory=config, metadata={_KEY: info})
