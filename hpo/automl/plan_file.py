"""Carries out a plan file: `python -m tao_automl.runner PLAN.json --platform NAME`.

A plan is a JSON object with `ready`, `blocking_issues`, `automl_settings`,
`automl_hyperparameters`, `custom_param_ranges`, and the arguments of the search under
`steps[0].params`: `skill_dir`, `action`, `platform_kwargs` and those of `AutoMLRunner.run`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpo.automl.arguments import check_mapping
from hpo.automl.errors import AutoMLError
from hpo.automl.formatting import format_result
from hpo.automl.runner import AutoMLRunner
from hpo.core.errors import HpoError
from hpo.core.text import one_line

_PLATFORMS = {
    "lepton": ("tao_sdk.platforms.lepton", "LeptonSDK"),
    "slurm": ("tao_sdk.platforms.slurm", "SlurmSDK"),
    "kubernetes": ("tao_sdk.platforms.kubernetes", "KubernetesSDK"),
    "docker": ("tao_sdk.platforms.docker", "DockerSDK"),
    "brev": ("tao_sdk.platforms.brev", "BrevSDK"),
    "virtualenv": ("tao_sdk.platforms.virtualenv", "VirtualEnvSDK"),
    "local": ("hpo.jobs.processes", "ProcessPlatform"),
}
"""Name of a platform -> where its SDK is found; `local` runs processes on this machine."""
_OWN = ("skill_dir", "action", "platform_kwargs", "network_arch")


def run_automl_plan(plan: Mapping[str, Any], platform: str) -> dict[str, Any]:
    """Carry out a plan and return the result of `AutoMLRunner.run`.

    Args:
        plan: as its file holds it.
        platform: one of `_PLATFORMS`.

    Raises:
        AutoMLError: when the plan is not ready, lacks something, or the platform is not installed.
    """
    if not plan.get("ready"):
        issues = "; ".join(map(str, plan.get("blocking_issues") or ["no reason is given"]))
        raise AutoMLError(f"plan: is not ready to run: {issues}")
    params = _params(plan)
    skill_dir = params.get("skill_dir")
    if not skill_dir:
        raise AutoMLError("plan.steps[0].params.skill_dir: must be given, the full path")
    arguments = {name: value for name, value in params.items() if name not in _OWN}
    for name in ("automl_settings", "automl_hyperparameters", "custom_param_ranges"):
        if plan.get(name) is not None:
            arguments[name] = plan[name]
    more = params.get("platform_kwargs") or {}
    check_mapping(more, "plan.steps[0].params.platform_kwargs")
    if twice := sorted(name for name in more if arguments.get(name, more[name]) != more[name]):
        raise AutoMLError(
            f"plan.steps[0].params: {', '.join(twice)}: is given twice, there and in "
            "platform_kwargs, with two values; give one of them"
        )
    runner = AutoMLRunner(_sdk(platform), skill_dir, str(params.get("action") or "train"))
    return runner.run(**{**arguments, **more})


def _params(plan: Mapping[str, Any]) -> Mapping[str, Any]:
    steps = plan.get("steps")
    step = steps[0] if isinstance(steps, list) and steps else None
    params = step.get("params") if isinstance(step, Mapping) else None
    if not isinstance(params, Mapping):
        raise AutoMLError("plan.steps[0].params: must be a mapping of arguments")
    return params


def _sdk(platform: str) -> Any:
    if platform not in _PLATFORMS:
        raise AutoMLError(f"--platform: must be one of {', '.join(_PLATFORMS)}, got {platform!r}")
    module, name = _PLATFORMS[platform]
    try:
        return getattr(importlib.import_module(module), name)()
    except (ImportError, AttributeError) as error:
        raise AutoMLError(
            f"--platform {platform}: its SDK is not installed: {error}; install it, or take "
            "--platform local"
        ) from error
    except Exception as error:
        raise AutoMLError(
            f"--platform {platform}: its SDK cannot be made: "
            f"{type(error).__name__}: {one_line(str(error))}"
        ) from error


def main(words: list[str]) -> int:
    """Read a plan file, carry it out, and print the result."""
    parser = argparse.ArgumentParser(prog="tao_automl.runner", description="Carry out a plan.")
    parser.add_argument("plan", help="JSON file of the plan")
    parser.add_argument("--platform", required=True, choices=list(_PLATFORMS))
    args = parser.parse_args(words)
    try:
        plan = json.loads(Path(args.plan).read_text(encoding="utf-8"))
        if not isinstance(plan, dict):
            raise AutoMLError(f"{args.plan}: must hold a JSON object, got {type(plan).__name__}")
        result = run_automl_plan(plan, args.platform)
    except (OSError, json.JSONDecodeError) as error:
        sys.stderr.write(f"tao_automl.runner: {args.plan}: cannot be read: {error}\n")
        return 2
    except HpoError as error:
        sys.stderr.write(f"tao_automl.runner: {error}\n")
        return 2
    sys.stdout.write(format_result(result) + "\n")
    return 0 if result["best"] is not None else 1
