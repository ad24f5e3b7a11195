import io
import json
import shutil
import subprocess
import sys
import tarfile

import numpy as np
import pytest
from PIL import Image

from hpo.core.errors import DataError, RunError, SpecError
from hpo.results.gallery import extend_gallery, merge_gallery
from hpo.results.predict import label_with_run
from hpo.run.run_dir import RunDir
from hpo.serving.service import THUMBNAIL_PX, PictureService
from tests.hpo.serving.conftest import picture
from trainer.gallery import model_digest
from trainer.session import RecognitionTrainer
from trainer.unknowns import Calibration


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_matches_show_pictures_of_the_reference_folder(run, tmp_path, scheme):
    gallery = tmp_path / "shots"
    (gallery / "red").mkdir(parents=True)
    Image.new("RGB", (900, 600), (220, 30, 30)).save(gallery / "red" / "0.png")
    plan = json.loads((run.path / "plan.json").read_text())
    plan["sources"]["reference"] = f"{scheme}{gallery}"
    (run.path / "plan.json").write_text(json.dumps(plan))
    service = PictureService(run)
    assert service.thumbnail("red/0.png") is None  # no match has named it yet
    matches = service.label(picture((250, 40, 40)), "a.png", 3)["matches"]
    shown = {match["class"]: match["picture"] for match in matches}
    assert shown == {"red": "red/0.png", "green": None, "blue": None}
    with Image.open(io.BytesIO(service.thumbnail("red/0.png"))) as small:
        assert (small.format, max(small.size)) == ("JPEG", THUMBNAIL_PX)
    (gallery / "red" / "0.png").write_bytes(b"gone")
    assert service.thumbnail("red/0.png") is None
    gallery.rename(tmp_path / "moved")
    assert service.thumbnail("red/0.png") is None
    matches = service.label(picture((250, 40, 40)), "a.png", 3)["matches"]
    assert [match["picture"] for match in matches] == [None, None, None]


def serve_with(run, reference):
    """Serve a run whose gallery pictures lie at a source."""
    plan = json.loads((run.path / "plan.json").read_text())
    plan["sources"]["reference"] = reference
    (run.path / "plan.json").write_text(json.dumps(plan))
    return PictureService(run)


def shown_by(service):
    """The gallery picture of each match of a red picture."""
    matches = service.label(picture((250, 40, 40)), "a.png", 3)["matches"]
    return {match["class"]: match["picture"] for match in matches}


@pytest.mark.parametrize("is_settled", [False, True])
def test_matches_show_pictures_of_a_list(run, tmp_path, is_settled):
    """It may lie elsewhere than they do, as one does that was split or settled."""
    for label in ("red", "green"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        Image.new("RGB", (90, 60), label).save(tmp_path / "photos" / label / "0.png")
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "all.csv").write_text(
        "path,label,split\n../photos/red/0.png,red,gallery\n../photos/green/0.png,green,gallery\n"
    )
    sources = {"reference": str(tmp_path / "lists" / "all.csv")}
    if is_settled:
        sources = RecognitionTrainer().settle_sources(sources, tmp_path / "out")
    service = serve_with(run, sources["reference"])
    assert shown_by(service) == {"red": "red/0.png", "green": "green/0.png", "blue": None}
    with Image.open(io.BytesIO(service.thumbnail("red/0.png"))) as small:
        assert small.getpixel((9, 9)) == pytest.approx((255, 0, 0), abs=3)


def test_no_reference_picture_is_shown_for_one_that_was_added_under_its_name(run, tmp_path):
    """Cameras count from 1 in every folder."""
    shots, new = tmp_path / "shots" / "red", tmp_path / "new" / "red"
    for folder, color in ((shots, (220, 30, 30)), (new, (200, 90, 20))):
        folder.mkdir(parents=True)
        (folder / "0.png").write_bytes(picture(color))
    plan = json.loads((run.path / "plan.json").read_text())
    plan["sources"]["reference"] = str(tmp_path / "shots")
    (run.path / "plan.json").write_text(json.dumps(plan))
    with np.load(run.best_dir / "gallery.npz") as arrays:
        own = dict(arrays) | {"model": model_digest(run.best_dir / "model.onnx")}
    np.savez(run.best_dir / "gallery.npz", **own)
    shutil.copytree(run.path, tmp_path / "shop 2")
    extend_gallery(RunDir(tmp_path / "shop 2"), str(tmp_path / "new"))
    labelled = label_with_run(RunDir(tmp_path / "shop 2"), [str(new / "0.png")], 1)
    assert [row["neighbours"] for row in labelled.rows] == [["added//red/0.png"]]
    merge_gallery(run, tmp_path / "shop 2")
    service = PictureService(run)
    for color, shown in (((200, 90, 20), None), ((220, 30, 30), "red/0.png")):
        (match,) = service.label(picture(color), "a.png", 1)["matches"]
        assert match["distance"] == pytest.approx(0, abs=1e-3)
        assert (match["class"], match["picture"]) == ("red", shown)
    assert service.thumbnail("added//red/0.png") is None


@pytest.mark.parametrize(
    ("mode", "color", "wanted"), [("I;16", 20_000, 0), ("RGBA", (255, 0, 0, 0), 255)]
)
def test_deep_and_transparent_pictures_are_shown_as_the_report_shows_them(
    run, tmp_path, mode, color, wanted
):
    gallery = tmp_path / "shots"
    (gallery / "red").mkdir(parents=True)
    Image.new(mode, (60, 60), color).save(gallery / "red" / "0.png")
    plan = json.loads((run.path / "plan.json").read_text())
    plan["sources"]["reference"] = str(gallery)
    (run.path / "plan.json").write_text(json.dumps(plan))
    service = PictureService(run)
    service.label(picture((250, 40, 40)), "a.png", 1)
    with Image.open(io.BytesIO(service.thumbnail("red/0.png"))) as small:
        assert small.getpixel((9, 9)) == pytest.approx((wanted,) * 3, abs=3)


@pytest.mark.parametrize("name", ["\U00020000" * 90 + ".png", "é" * 300, "a/../b" * 60, ""])
def test_a_picture_may_have_any_name(run, calibrated, name):
    """File systems take 255 bytes of a name."""
    service = PictureService(run)
    data = picture((10, 20, 200))
    assert service.label(data, name, 1)["label"] in service.classes()
    assert service.add("new one", data, name)["new_pictures"] == 1


def test_matches_show_pictures_of_an_archive(run, tmp_path, monkeypatch):
    """The class folders lie in a folder of their own, as tar makes them."""
    monkeypatch.setenv("HPO_CACHE_DIR", str(tmp_path / "cache"))
    data = picture((220, 30, 30))
    with tarfile.open(tmp_path / "shots.tar.gz", "w:gz") as archive:
        for name in ("red/0.png", "green/0.png"):
            entry = tarfile.TarInfo(f"shots/{name}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    service = serve_with(run, str(tmp_path / "shots.tar.gz"))
    assert shown_by(service) == {"red": "red/0.png", "green": "green/0.png", "blue": None}
    with Image.open(io.BytesIO(service.thumbnail("red/0.png"))) as small:
        assert small.getpixel((0, 0)) == pytest.approx((220, 30, 30), abs=3)


def test_another_models_gallery_is_refused_every_time(run, calibrated):
    """Also where it comes while the server is at work; its own is taken again afterwards."""
    file, blue = run.best_dir / "gallery.npz", picture((0, 130, 200))
    with np.load(file) as arrays:
        own = dict(arrays)
    service = PictureService(run, unknown_at=0.1)
    for number in range(3):
        assert service.label(blue, "a.png", 1)["label"] == "hue5"
        np.savez(file, **{**own, "model": f"{number}" * 64})
        swapped = file.read_bytes()
        requests = (
            lambda: service.label(blue, "a.png", 1),
            lambda: PictureService(run).label(blue, "a.png", 1),
            lambda: service.add("new", blue, "a.png"),
            lambda: service.remove("hue5"),
        )
        for request in requests:
            with pytest.raises(DataError, match=f"another model than .*sha256 {number}"):
                request()
        assert file.read_bytes() == swapped
        np.savez(file, **own)


def test_what_unknown_costs_is_told_once_and_not_measured_for_each_picture(
    run, calibrated, monkeypatch
):
    service = PictureService(run, unknown_at=0.1)
    assert service.unknown_price().startswith("unknown at 0.1: by the validation queries, about ")
    assert PictureService(run).unknown_price() == ""
    monkeypatch.delattr(Calibration, "_rate_interval")
    assert service.label(picture((0, 130, 200)), "a.png", 1)["label"] == "hue5"


def test_a_class_whose_name_differs_in_spelling_alone_is_added_with_a_note(run):
    service = PictureService(run)
    assert "notes" not in service.add("lemon", picture((250, 240, 9)), "a.png")
    told = service.add("Lemon", picture((240, 250, 9)), "a.png")
    assert told["new_classes"] == 1
    assert len(told["notes"]) == 1
    assert all(name in told["notes"][0] for name in ("lemon", "Lemon", "spelling"))


REQUESTS = """
import json, sys
from pathlib import Path
import hpo.serving.app
from hpo.run.run_dir import RunDir
from hpo.serving.service import PictureService

service = PictureService(RunDir(Path(sys.argv[1])), unknown_at=0.1)
service.warm_up()
before = set(sys.modules)
data = Path(sys.argv[2]).read_bytes()
for topk in (1, 3):
    (shown,) = {m["picture"] for m in service.label(data, "a.png", topk)["matches"]} - {None}
service.add("new", data, "a.png")
service.remove("new")
service.undo()
try:
    service.label(b"broken", "b.png", 1)
except Exception as error:
    assert "not a readable picture" in str(error), error
assert service.thumbnail(shown)
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def test_no_request_imports_a_module(run, calibrated, tmp_path):
    """Python 3.11 may fail where threads import at once what parses source (its issue 106905)."""
    shown = tmp_path / "shots" / "hue0" / "0.png"
    shown.parent.mkdir(parents=True)
    shown.write_bytes(picture((200, 12, 10)))
    plan = json.loads((run.path / "plan.json").read_text())
    plan["sources"]["reference"] = str(tmp_path / "shots")
    (run.path / "plan.json").write_text(json.dumps(plan))
    command = [sys.executable, "-c", REQUESTS, str(run.path), str(shown)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n", done.stderr


class Shrinking(RecognitionTrainer):
    """Takes a class out just before it labels, as another process does."""

    def label_pictures(self, folder, images, topk, *, unknown_at=None):
        if topk == 3:
            self.remove_classes(folder, ["blue"])
        return super().label_pictures(folder, images, topk, unknown_at=unknown_at)


SHRINKING = Shrinking()


def test_a_class_that_goes_meanwhile_costs_no_answer(run):
    text = run.study_file.read_text().replace("ml_recog", f"{__name__}:SHRINKING")
    run.study_file.write_text(text)
    matches = PictureService(run).label(picture((9, 200, 9)), "a.png", 50)["matches"]
    assert [match["class"] for match in matches] == ["green", "red"]
    with pytest.raises(DataError, match="not a readable picture"):
        PictureService(run).label(b"none", "a.png", 1)


def test_more_matches_than_there_are_gives_all(run):
    assert len(PictureService(run).label(picture((9, 200, 9)), "a.png", 50)["matches"]) == 3


def test_a_run_without_an_export_is_told(run):
    (run.best_dir / "model.onnx").unlink()
    with pytest.raises(RunError, match="has no exported model yet"):
        PictureService(run)


def test_a_trainer_without_galleries_is_told(run):
    text = run.study_file.read_text().replace("ml_recog", "tests.quick_trainer:TRAINER")
    run.study_file.write_text(text)
    with pytest.raises(SpecError, match="has no list_gallery"):
        PictureService(run)
