"""Reads a network's skill folder: metadata, schemas, spec templates.

The one place that knows the keys of `skill_info.yaml`; each entry that is missing reads as empty.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpo.core.errors import RunError, SpecError
from hpo.core.protocols import Trainer
from hpo.core.spec_dicts import flatten, merge_into, merged, nest, refuse_two
from hpo.core.text import quoted
from hpo.core.yaml_io import as_written, parse_texts, parse_yaml, read_text, read_yaml

INFO_FILE = Path("references") / "skill_info.yaml"
NAMES = ("network_arch", "name", "aliases", "model_aliases", "data_format", "container_image")
"""Keys of a metadata file that hold names."""
SECTIONS = ("actions", "spec_params")
"""Of a metadata file; each holds one mapping an action."""

_HANDED_ON = {
    "export": ("parent_model", "create_onnx_file", "output_dir"),
    "evaluate": ("parent_model", "output_dir"),
}
"""Action -> what `spec_params` must name of it, so that the best trial can be handed on."""


CORE_PARAMS: Mapping[str, Mapping[str, str]] = {
    "gen_trt_engine": {
        "gen_trt_engine.tensorrt.calibration.cal_cache_file": "create_cal_cache",
    },
}
"""Inferred fields that the published mapping has and the published metadata file leaves out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Skill:
    """One skill folder, or one page of it: the training page or a deployment page."""

    path: Path
    info: Mapping[str, Any]
    """The metadata file as it was read."""

    def _table(self, name: str, action: str = "") -> dict[str, Any]:
        table = self.info.get(name)
        if action and isinstance(table, Mapping):
            table = table.get(action)
        return dict(table) if isinstance(table, Mapping) else {}

    @property
    def network_arch(self) -> str:
        """The network's name, by which a trainer is registered."""
        return str(self.info.get("network_arch", ""))

    @property
    def title(self) -> str:
        """What the network is called in messages."""
        return self.network_arch or str(self.info.get("name") or self.path.name)

    @property
    def names(self) -> tuple[str, ...]:
        """Everything that the skill may be called: folder, network, name and aliases."""
        aliases = self.info.get("aliases") or self.info.get("model_aliases") or []
        listed = aliases if isinstance(aliases, list) else [aliases]
        named = [self.path.name, self.network_arch, self.info.get("name") or "", *listed]
        return tuple(str(name) for name in dict.fromkeys(named) if name)

    @property
    def is_automl_enabled(self) -> bool:
        """Whether the network allows searches."""
        return self.info.get("automl_enabled") is True

    @property
    def image(self) -> str:
        """Container image that platforms run the actions in; may be empty."""
        return str(self.info.get("container_image") or "")

    @property
    def data_format(self) -> str:
        """Format of the pictures."""
        return str(self.info.get("data_format") or "default")

    @property
    def gpu_key(self) -> str:
        """Spec key with the number of GPUs; may be empty."""
        return str(self.info.get("gpu_spec_key") or "")

    @property
    def monitored(self) -> list[str]:
        """Names of the metric that tells epochs apart, the likeliest first; may be empty."""
        stated = self._table("metrics").get("monitoring_metric") or []
        return [str(name) for name in (stated if isinstance(stated, list) else [stated])]

    @property
    def actions(self) -> dict[str, Any]:
        """Action -> what the metadata say of it."""
        return self._table("actions")

    @property
    def shorthands(self) -> dict[str, str]:
        """Short name -> dotted spec key."""
        return {str(k): str(v) for k, v in self._table("spec_shorthand_keys").items()}

    def command(self, action: str) -> str:
        """The command line that runs an action; empty where the metadata give none."""
        return str(self._table("actions", action).get("command") or "")

    def inputs(self, action: str) -> dict[str, Any]:
        """Spec field -> facts of what an action reads."""
        return dict(self._table("actions", action).get("inputs") or {})

    def outputs(self, action: str) -> dict[str, Any]:
        """Spec field -> facts of what an action writes."""
        return dict(self._table("actions", action).get("outputs") or {})

    def file_outputs(self, action: str) -> list[str]:
        """Spec fields that name a file which an action writes, e.g. `export.onnx_file`."""
        return _files(self.outputs(action))

    def file_inputs(self, *actions: str) -> set[str]:
        """Spec fields that name weights or models which some action, or one of these, reads."""
        return {f for action in actions or self.actions for f in _files(self.inputs(action))}

    def is_optional_input(self, action: str, field: str) -> bool:
        """Whether an action also runs without this input."""
        inputs = self.inputs(action)
        return field not in inputs or bool((inputs[field] or {}).get("optional"))

    def data_entries(self, action: str) -> dict[str, dict[str, Any]]:
        """Dotted data key of an action -> `source`, `path`, `list`."""
        return self._table("data_sources", action)

    def spec_params(self, action: str) -> dict[str, str]:
        """Spec field of an action -> the inference function that fills it."""
        core = CORE_PARAMS.get(action, {}) if self.file_outputs(action) else {}
        return {**core, **self._table("spec_params", action)}

    def keys(self) -> set[str]:
        """Every spec key that the metadata name."""
        sides = [self.inputs(action) | self.outputs(action) for action in self.actions]
        tables = [
            fields or {}
            for table in ("spec_params", "data_sources")
            for fields in self._table(table).values()
        ]
        return {name for names in (*sides, *tables) for name in names}

    def schema_file(self, action: str = "train") -> Path:
        """The schema of an action."""
        return self.path / "schemas" / f"{action}.schema.json"

    def template_file(self, action: str = "train") -> Path:
        """The spec template of an action."""
        return self.path / "references" / f"spec_template_{action}.yaml"

    def template(self, action: str) -> dict[str, Any]:
        """The starter spec of an action; empty where there is none.

        Raises:
            SpecError: when the file is named and missing, or is no mapping.
        """
        name = self._table("spec_templates").get(action)
        file = self.template_file(action)
        if name:  # the published ones read `../references/...`
            file = Path(os.path.normpath(self.path / "references" / str(name)))
        if not name and not file.is_file():
            return {}
        data = read_yaml(file)
        if not isinstance(data, dict):
            raise SpecError(f"{file}: must be a mapping of keys, got {quoted(data)}")
        return data

    def known_spec(self, action: str) -> dict[str, Any]:
        """Every key that an action's schema knows with its default; empty without a schema.

        Raises:
            SpecError: when the schema cannot be read.
        """
        file = self.schema_file(action)
        if not file.is_file():
            return {}
        try:
            schema = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise SpecError(f"{file}: cannot be read: {error}") from error
        if not isinstance(schema, dict) or not isinstance(schema.get("default") or {}, dict):
            raise SpecError(f"{file}: must be a JSON object whose `default` is one, too")
        return dict(schema.get("default") or {})

    def starter_spec(self, action: str) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
        """Read template and schema of an action, as far as they can be read.

        Returns:
            The starter spec (the template, else the defaults of the schema), every key that one of
            them knows with its default, and a line about each file that cannot be read.
        """
        problems: list[str] = []

        def read(reader: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
            try:
                return reader(action)
            except SpecError as error:
                problems.append(str(error))
                return {}

        known, template = read(self.known_spec), read(self.template)
        return template or known, merged(known, template), problems

    def expand(self, given: Mapping[str, Any], where: str = "") -> dict[str, Any]:
        """Spell out the short names of overrides and nest everything.

        Args:
            given: dotted, nested or short keys.
            where: what the overrides are called, for messages.

        Raises:
            SpecError: when one key is given two values, by whatever names.
        """
        nested: dict[str, Any] = {}
        set_already: dict[str, Any] = {}
        for key, value in given.items():
            is_short = not isinstance(value, Mapping)
            name = self.shorthands.get(str(key), str(key)) if is_short else str(key)
            old = set_already.get(name)
            if name != key and old is not None and old != value:
                raise SpecError(f"{where}{key}: stands for {name}, which is set to {old!r} already")
            tree = nest({name: value})
            for leaf, own in flatten(tree).items():
                refuse_two(f"{where}{leaf}", set_already.setdefault(leaf, own), own)
            merge_into(nested, tree)
        return nested

    def action(self, name: str) -> dict[str, Any]:
        """What the metadata say of an action: `command`, `inputs`, `outputs`, ...; else empty."""
        return self._table("actions", name)

    def fields(self, action: str, function: str) -> list[str]:
        """Spec fields of an action that an inference function fills, e.g. `parent_model`."""
        params = self._table("spec_params", action)
        return [name for name, what in params.items() if what == function]

    def fill(self, action: str, function: str, value: object) -> dict[str, str]:
        """Spec fields by dotted name, filled with a value.

        Raises:
            RunError: when the skill names no such field.
        """
        names = self.fields(action, function)
        if not names:
            raise RunError(f"{self.path}: skill_info.yaml names no {function} field for {action}")
        return {name: str(value) for name in names}

    def evaluation(self, spec: Mapping[str, Any], model: Path, folder: Path) -> dict[str, Any]:
        """A nested spec that evaluates a model and writes into a folder.

        Raises:
            RunError: when the skill names no field for one of them.
        """
        filled = {"parent_model": model, "output_dir": folder}
        return merged(spec, *(self.fill("evaluate", *item) for item in filled.items()))


def demand_handoff(trainer: Trainer, *, evaluates: bool) -> None:
    """Refuse, before a search, a skill whose best trial could not be handed on.

    Args:
        trainer: of the search.
        evaluates: whether models are evaluated too: finalists, or the best on held-out pictures.

    Raises:
        SpecError: naming all that its metadata lack.
    """
    skill, lacks = load_skill(trainer.skill_dir), []
    for action in _HANDED_ON if evaluates else ("export",):
        if action not in skill.actions:
            lacks.append(f"actions.{action}")
        missing = [what for what in _HANDED_ON[action] if not skill.fields(action, what)]
        if missing:
            lacks.append(f"a field for {', '.join(missing)} in spec_params.{action}")
    if lacks:
        raise SpecError(
            f"{skill.path / INFO_FILE}: lacks {'; '.join(lacks)}: without it the best trial "
            f"cannot be {'evaluated and ' if evaluates else ''}exported; add it"
        )


def _files(fields: Mapping[str, Any]) -> list[str]:
    return [field for field, facts in fields.items() if (facts or {}).get("type") == "file"]


def schema_file_of(trainer: Trainer) -> Path:
    """The schema of what a trainer runs in each trial: `train`, unless it says otherwise."""
    return load_skill(trainer.skill_dir).schema_file(getattr(trainer, "action", "train"))


def load_skill(path: Path) -> Skill:
    """Read a skill folder's metadata.

    Raises:
        SpecError: when `references/skill_info.yaml` is missing or is not a mapping.
    """
    file = path / INFO_FILE
    if not path.is_dir():
        what = "is not a folder" if path.exists() else "no such folder"
        raise SpecError(f"{path}: {what}; a skill folder holds {INFO_FILE}")
    if not file.is_file():
        raise SpecError(f"{file}: no such file; is {path} a skill folder?")
    return Skill(path=path, info=read_info(file))


def read_info(file: Path) -> dict[str, Any]:
    """Read a metadata file whose sections are mappings.

    A search asks some thirty times; a file that has not changed is read once.

    Raises:
        SpecError: when it is missing or is not of that form.
    """
    version: tuple[int, ...] = ()
    with contextlib.suppress(OSError):  # told where it is read
        facts = file.stat()
        version = (facts.st_mtime_ns, facts.st_size, facts.st_ino)
    return copy.deepcopy(_read_info(file, version))


@functools.lru_cache(maxsize=16)
def _read_info(file: Path, _: tuple[int, ...]) -> dict[str, Any]:
    text = read_text(file)
    info = parse_yaml(text, str(file))
    if not isinstance(info, dict):
        raise SpecError(f"{file}: must be a mapping of keys, got {quoted(info)}")
    for name in SECTIONS:
        entries = info.get(name) or {}
        if not isinstance(entries, dict):
            raise SpecError(f"{file}: {name}: must be a mapping of keys, got {quoted(entries)}")
        wrong = next((n for n, e in entries.items() if not isinstance(e, dict | None)), None)
        if wrong is not None:
            got = quoted(entries[wrong])
            raise SpecError(f"{file}: {name}.{wrong}: must be a mapping of keys, got {got}")
    texts = parse_texts(text, str(file))
    return info | {name: as_written(info[name], texts.get(name)) for name in NAMES if name in info}
