"""A quick trainer whose trials start from a file (`start.file`), which must be there."""

from pathlib import Path

from tests.quick_trainer import QuickTrainer, SpecTrouble


class FileTrainer(QuickTrainer):
    def validate(self, spec):
        own = dict(spec)
        start = dict(own.pop("start", {"file": ""}))
        if start["file"] and not Path(start["file"]).is_file():
            raise SpecTrouble(f"start.file: {start['file']}: no such file")
        return {**super().validate(own), "start": start}


TRAINER = FileTrainer()
