"""A pretended SDK of the published shape, and skill folders for it: nothing is trained."""

from __future__ import annotations

import json
from types import SimpleNamespace

import yaml

METRIC = "accuracy"


def number(kind, low, high, default, **more):
    return {"type": kind, "minimum": low, "maximum": high, "default": default} | more


def make_skill(folder, *, actions=("train",), epochs=True, template=True, defaults=None, **info):
    """A container skill with one searched parameter an action: `train.lr`, `evaluate.lr`, ..."""
    (folder / "references").mkdir(parents=True)
    (folder / "schemas").mkdir()
    for action in actions:
        own = {"lr": 0.01, "size": 8, "results_dir": ""} | (defaults or {})
        if epochs and action == "train":
            own["num_epochs"] = 2
        properties = {
            "lr": number("number", 0.0001, 0.1, 0.01, automl_enabled=True),
            "size": number("integer", 2, 64, own["size"]),
            "results_dir": {"type": "string", "default": own["results_dir"]},
            **({"num_epochs": number("integer", 1, 99, 2)} if "num_epochs" in own else {}),
            **{name: {"type": "string", "default": value} for name, value in own.items()
               if isinstance(value, str) and name != "results_dir"},
        }  # fmt: skip
        schema = {
            "type": "object",
            "default": {action: own},
            "properties": {action: {"type": "object", "properties": properties}},
        }
        (folder / "schemas" / f"{action}.schema.json").write_text(json.dumps(schema))
        if template:
            file = folder / "references" / f"spec_template_{action}.yaml"
            file.write_text(yaml.safe_dump({action: own}))
    facts = {
        "name": "pretended",
        "network_arch": "pretended_net",
        "container_image": "registry/skill:1",
        "automl_enabled": True,
        "actions": {
            action: {"command": f"net {action} -e {{config_path}}", "config_format": "yaml"}
            for action in actions
        },
    } | info
    (folder / "references" / "skill_info.yaml").write_text(yaml.safe_dump(facts))
    return folder


class Sdk:
    """Jobs that end at their second poll as `answer(number)` says: (status, log).

    `create_job` takes the image, the command and the named arguments of the caller alone.
    """

    def __init__(self, answer=lambda number: ("Complete", f"accuracy: {0.5 + number / 100}")):
        self.answer, self.jobs, self.order, self.deleted, self.canceled = answer, [], [], [], []
        self.polls = {}
        self.folders = {}

    def create_job(self, image, command, gpu_count=1, partition="", workspace_id="unset"):
        return self._made(
            image=image, command=command, gpu_count=gpu_count, partition=partition,
            workspace_id=workspace_id,
        )  # fmt: skip

    def _made(self, **facts):
        number = len(self.jobs)
        self.jobs.append(SimpleNamespace(id=f"job-{number}", **facts))
        self.order.append("create")
        self.polls[f"job-{number}"] = 0
        return SimpleNamespace(id=f"job-{number}", results_dir=self.folders.get(number, ""))

    def get_job_status(self, job_id):
        self.polls[job_id] += 1
        self.order.append("poll")
        status = self.answer(int(job_id[4:]))[0] if self.polls[job_id] > 1 else "Running"
        return SimpleNamespace(status=status)

    def get_job_logs(self, job_id, tail=None):
        return self.answer(int(job_id[4:]))[1] if self.polls[job_id] > 1 else ""

    def cancel_job(self, job_id):
        self.canceled.append(job_id)


class Builder(Sdk):
    """One that makes the command by itself, as the published SDK does."""

    def __init__(self, *args):
        super().__init__(*args)
        self.built = []

    def build_entrypoint(self, command, specs, inputs, outputs, config_format, upload_excludes):
        self.built.append(SimpleNamespace(
            command=command, specs=specs, inputs=inputs, outputs=outputs,
            config_format=config_format, upload_excludes=upload_excludes,
        ))  # fmt: skip
        return f"entrypoint {json.dumps(specs)}"


class Cleaner(Sdk):
    """One that can delete what jobs have left."""

    def __init__(self, *args, refuses=""):
        super().__init__(*args)
        self.refuses = refuses

    def validate_artifact_retention(self, **arguments):
        self.order.append("validate")
        if self.refuses:
            raise NotImplementedError(self.refuses)

    def delete_job_artifacts(self, job_id):
        self.deleted.append(job_id)
        return True


class Scripts(Sdk):
    """One that runs Python scripts."""

    def create_python_job(self, **facts):
        return self._made(**facts)
