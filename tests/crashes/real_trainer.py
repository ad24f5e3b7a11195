"""The real trainer, passing the same traps as the one without torch; and what it trains on."""

from __future__ import annotations

from pathlib import Path

from tests.crashes.trainer import Epochs, TrapsExport
from tests.crashes.trap import pass_by
from trainer.session import RecognitionTrainer

NAME = "tests.crashes.real_trainer:TRAINER"
CLASSES = 4
SMALL = {
    "model.backbone": "timm/test_resnet",
    "model.input_height": 32,
    "model.input_width": 32,
    "model.feat_dim": 32,
    "dataset.workers": 0,
    "train.batch_size": 16,
}


def import_torch():
    """Import before a fork, so that starts are quick; nothing is computed, so that forks can."""
    import pytorch_lightning  # noqa: F401
    import timm  # noqa: F401
    import torch

    torch.set_num_threads(1)


def few_pictures(folder):
    """A few classes of the embedded data set, as the sources of a study."""
    from trainer.data.demo import make_demo_data

    sources = make_demo_data(folder / "all", 3)
    for split in ("train", "reference", "query"):
        (folder / split).mkdir()
        for path in sorted(Path(sources[split]).iterdir())[:CLASSES]:
            (folder / split / path.name).symlink_to(path)
    return {split: str(folder / split) for split in ("train", "reference", "query")}


class TrappedRecognitionTrainer(TrapsExport, RecognitionTrainer):
    name = "trapped_ml_recog"

    def fit(self, spec, report, resume_from=None, start_epoch=None):
        from trainer import checkpoints

        folder = Path(spec["results_dir"])
        out, number = folder.parents[3], int(folder.name)
        pass_by(out, "fit", "before", number=number)
        done = len(checkpoints.load(Path(resume_from))["history"]) if resume_from else 0
        # A checkpoint is written while the next epoch trains, so that a kill meanwhile takes the
        # epoch that has ended and the beginning of the next: what ended twice is counted.
        epochs = Epochs(folder, report, done, last=spec["train"]["num_epochs"], at="ended")
        kept = checkpoints.save, checkpoints.write_atomically
        checkpoints.save, checkpoints.write_atomically = watched_writes(out, number, *kept)
        try:
            return super().fit(spec, epochs, resume_from, start_epoch)
        finally:
            checkpoints.save, checkpoints.write_atomically = kept


def watched_writes(out, number, save, write_atomically):
    """The writer's two functions, passing the moments before and after each rename."""
    facts = {"number": number}

    def watched_save(payload, paths):
        facts["epoch"] = len(payload["history"])
        save(payload, paths)

    def watched_write(path, write):
        def write_then_pass(temporary):
            write(temporary)
            pass_by(out, f"rename {path.name}", "before", **facts)

        write_atomically(path, write_then_pass)
        pass_by(out, f"rename {path.name}", "after", **facts)

    return watched_save, watched_write


TRAINER = TrappedRecognitionTrainer()
