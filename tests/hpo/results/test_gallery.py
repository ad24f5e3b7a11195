"""Changes of a gallery by a trainer that has no lock of its own."""

import json
import threading
import time

from hpo.core.budget import Budget
from hpo.results.gallery import extend_gallery, list_gallery, shrink_gallery
from hpo.searching.session import start_search
from tests.quick_runs import Ear, quick_study
from tests.quick_trainer import QuickTrainer


class Editor(QuickTrainer):
    """Reads the gallery, takes its time, and writes it."""

    def list_gallery(self, folder):
        return json.loads((folder / "classes.json").read_text())

    def add_classes(self, folder, images):
        return self._write(folder, self.list_gallery(folder) | {images: 1})

    def remove_classes(self, folder, names):
        kept = self.list_gallery(folder)
        return self._write(folder, {name: n for name, n in kept.items() if name not in names})

    def _write(self, folder, classes):
        time.sleep(0.05)
        (folder / "classes.json").write_text(json.dumps(classes))
        return {"classes": len(classes)}


TRAINER = Editor()


def test_no_change_is_lost_to_another_one(tmp_path):
    run = start_search(quick_study(budget=Budget(trials=1)), tmp_path, Ear().settings()).run
    name = f"{__name__}:TRAINER"
    run.study_file.write_text(
        run.study_file.read_text().replace("tests.quick_trainer:TRAINER", name)
    )
    (run.best_dir / "classes.json").write_text('{"old": 1}')
    changes = [threading.Thread(target=extend_gallery, args=(run, f"class {i}")) for i in range(6)]
    changes.append(threading.Thread(target=shrink_gallery, args=(run, ["old"])))
    for change in changes:
        change.start()
    for change in changes:
        change.join()
    assert sorted(list_gallery(run)) == [f"class {i}" for i in range(6)]
