"""A quick trainer whose trials start from a file (`start.file`), which must be there."""

import shutil
from pathlib import Path

from tests.quick_trainer import QuickTrainer, SpecTrouble


class FileTrainer(QuickTrainer):
    def validate(self, spec):
        own = dict(spec)
        start = dict(own.pop("start", {"file": ""}))
        if start["file"] and not Path(start["file"]).is_file():
            raise SpecTrouble(f"start.file: {start['file']}: no such file")
        return {**super().validate(own), "start": start}


def listing_skill(folder):
    """Make a skill folder that lists the file, data and a folder among what training reads."""
    shutil.copytree(QuickTrainer.skill_dir, folder)
    info = folder / "references" / "skill_info.yaml"
    inputs = "{start.file: {type: file}, data.train: {type: file}, start.folder: {type: folder}}"
    text = info.read_text().replace('train: {command: ""}', f"train: {{inputs: {inputs}}}")
    info.write_text(text + "data_sources: {train: {data.train: {source: train}}}\n")
    return folder


TRAINER = FileTrainer()
