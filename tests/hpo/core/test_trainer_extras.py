"""Extras are found by what a trainer has, whoever wrote it."""

import ast
import inspect

import pytest

from hpo.core import trainer_extras
from hpo.core.averager import Averager
from hpo.core.list_reader import ListReader
from hpo.core.protocols import Trainer
from hpo.core.trainer_extras import (
    EXTRAS,
    CacheKeeper,
    GalleryEditor,
    GalleryKeeper,
    MultiDevice,
    RestartAware,
    members_of,
)
from hpo.core.unknown_calibrator import UnknownCalibrator
from tests.quick_trainer import TRAINER


class Foreign:
    """Knows nothing of this project, and can change classes of a gallery."""

    def list_gallery(self, folder): ...

    def add_classes(self, folder, images): ...

    def remove_classes(self, folder, names): ...


def test_members_are_keys_and_methods_with_those_that_are_inherited():
    assert members_of(MultiDevice) == ["devices_key"]
    assert members_of(CacheKeeper) == ["list_caches", "clear_caches"]
    assert members_of(GalleryKeeper)[:3] == ["list_gallery", "add_classes", "remove_classes"]


def test_all_protocols_of_the_module_are_extras():
    tree = ast.parse(inspect.getsource(trainer_extras))
    named = {
        node.name
        for node in tree.body
        if isinstance(node, ast.ClassDef)
        and "runtime_checkable" in {ast.unparse(one) for one in node.decorator_list}
    }
    assert {"PictureLabeller", "FormExporter"} <= named
    assert named <= {extra.__name__ for extra in EXTRAS}
    assert {Averager, ListReader, UnknownCalibrator} <= {*EXTRAS}
    assert len(EXTRAS) == len(set(EXTRAS))


@pytest.mark.parametrize("extra", EXTRAS)
def test_no_extra_demands_what_every_trainer_has(extra):
    assert not set(members_of(extra)) & {*members_of(Trainer)}
    assert members_of(extra)


def test_a_foreign_trainer_offers_what_it_has_and_no_more():
    found = [extra for extra in EXTRAS if isinstance(Foreign(), extra)]
    assert found == [GalleryEditor]
    assert [extra for extra in EXTRAS if isinstance(TRAINER, extra)] == [RestartAware]


def test_a_key_is_an_extra_too():
    class Keyed(Foreign):
        restart_keys = ("net",)

    assert isinstance(Keyed(), RestartAware)
    assert not isinstance(Keyed(), MultiDevice)


def test_the_trainer_of_a_skill_folder_offers_what_its_registered_trainer_does():
    from hpo.automl.skill_trainer import SkillTrainer
    from hpo.study.trainers import find_trainer

    inner = find_trainer("ml_recog")
    outer = SkillTrainer(str(inner.skill_dir))
    for extra in EXTRAS:
        assert isinstance(outer, extra) == isinstance(inner, extra)
        if isinstance(inner, extra):
            for name in members_of(extra):
                inspect.getattr_static(outer, name)  # as `isinstance` looks from Python 3.12 on
