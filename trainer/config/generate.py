"""Write the skill folder from the declarations: `python -m trainer.config.generate [--check]`.

The files are checked in, so that a skill folder can be read without running anything.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainer.config.dialect import (
    MODEL,
    NETWORK,
    never_searched,
    popular,
    schema,
    searched_by_default,
    template,
)
from trainer.config.differences import differences_page
from trainer.config.files import spec_text
from trainer.config.root import ACTIONS, Action
from trainer.config.skill_info import DEPLOY_PAGE, deploy_info, deploy_templates, skill_info
from trainer.config.strict import strict_schema

SKILL_DIR = Path(__file__).parents[1] / "skill"


def _json_text(data: Any) -> str:
    return json.dumps(data, indent=2, sort_keys=True) + "\n"


def _manifest_entry(action: Action) -> dict[str, Any]:
    return {
        "automl_default_parameters": sorted(searched_by_default()),
        "automl_disabled_parameters": sorted(never_searched()),
        "core_module": NETWORK,
        "path": f"schemas/{action}.schema.json",
        "popular": popular(),
        "schema_action": action,
        "spec_template": f"references/spec_template_{action}.yaml",
        "strict_path": f"schemas/strict/{action}.schema.json",
    }


def _manifest() -> dict[str, Any]:
    return {
        "actions": {action: _manifest_entry(action) for action in ACTIONS},
        "automl_enabled": True,
        "failures": {},
        "model": MODEL,
        "network_arch": NETWORK,
        "schema_version": 1,
    }


def skill_files() -> dict[str, str]:
    """Return the text of every generated file by its path in the skill folder."""
    files = {
        "schemas/manifest.json": _json_text(_manifest()),
        "references/skill_info.yaml": spec_text(skill_info()),
        f"references/{DEPLOY_PAGE}.skill_info.yaml": spec_text(deploy_info()),
        "references/differences.md": differences_page(),
    }
    for action in ACTIONS:
        files[f"schemas/{action}.schema.json"] = _json_text(schema(action))
        files[f"schemas/strict/{action}.schema.json"] = _json_text(strict_schema(action))
        files[f"references/spec_template_{action}.yaml"] = spec_text(template(action))
    for name, spec in deploy_templates().items():
        files[f"references/spec_template_deploy_{name}.yaml"] = spec_text(spec)
    return files


def stale_files(folder: Path) -> list[str]:
    """Return the generated files that a skill folder lacks or holds in another form."""
    stale = []
    for name, text in skill_files().items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
    return stale


def write_files(folder: Path) -> None:
    """Write every generated file below a skill folder."""
    for name, text in skill_files().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files, or with `--check` only say which differ (exit code 1 if any)."""
    parser = argparse.ArgumentParser(prog="python -m trainer.config.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, name stale files")
    parser.add_argument("--out", type=Path, default=SKILL_DIR, help="the skill folder")
    options = parser.parse_args(arguments)
    stale = stale_files(options.out)
    if not options.check:
        write_files(options.out)
    for name in stale:
        print(f"{'stale' if options.check else 'written'}: {options.out / name}")
    return 1 if options.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
