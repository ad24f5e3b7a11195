from dataclasses import replace

from hpo.core.trial import Measurement, TrialRecord, TrialState
from hpo.results.export_mark import is_gallery_changed, is_made_of, write_mark


def trial_of(*values):
    return TrialRecord(
        number=3, state=TrialState.RUNNING, params={}, latents={}, until_epoch=9, started=1.5,
        measurements=[Measurement(epoch=n, value=v) for n, v in enumerate(values, 1)],
    )  # fmt: skip


def test_an_export_is_of_one_trial_at_its_best_epoch(tmp_path):
    trial = trial_of(0.5, 0.7)
    assert not is_made_of(tmp_path, trial, "maximize")  # an earlier release's, or none
    write_mark(tmp_path, trial, "maximize")
    assert is_made_of(tmp_path, trial, "maximize")
    assert is_made_of(tmp_path, trial_of(0.5, 0.7, 0.6), "maximize")
    assert not is_made_of(tmp_path, trial_of(0.5, 0.7, 0.8), "maximize")
    assert not is_made_of(tmp_path, replace(trial, started=2.5), "maximize")


def test_a_gallery_is_changed_where_it_differs_or_something_can_be_undone(tmp_path):
    write_mark(tmp_path, trial_of(0.5), "maximize")
    assert not is_gallery_changed(tmp_path)
    gallery = tmp_path / "gallery.npz"
    gallery.write_text("made")
    write_mark(tmp_path, trial_of(0.5), "maximize")
    assert not is_gallery_changed(tmp_path)
    gallery.write_text("more")
    assert is_gallery_changed(tmp_path)
    gallery.write_text("made")
    (tmp_path / "gallery.history").mkdir()
    assert not is_gallery_changed(tmp_path)
    (tmp_path / "gallery.history" / "000001.npz").touch()
    assert is_gallery_changed(tmp_path)
    gallery.unlink()
    assert is_gallery_changed(tmp_path)
    (tmp_path / "gallery.history" / "000001.npz").unlink()
    assert not is_gallery_changed(tmp_path)
