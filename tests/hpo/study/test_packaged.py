import shlex

import pytest

from hpo.core.errors import SpecError
from hpo.study.packaged import given_study, packaged_studies


def test_studies_of_the_package_have_names():
    assert packaged_studies() == ["defects", "quickstart", "retail_resnet50"]
    assert given_study("defects").name == "defects"
    assert given_study("defects").search.confirm == 2


def test_a_file_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "defects").write_text("schema_version: 1\nname: mine\n")
    assert given_study("defects").name == "mine"


def test_a_folder_of_pictures_hides_no_packaged_study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("defects", "photos"):
        (tmp_path / name).mkdir()
    assert given_study("defects").search.confirm == 2
    with pytest.raises(
        SpecError, match="^photos: must be a study file, and is a folder; .* --data photos$"
    ):
        given_study("photos")
    with pytest.raises(
        SpecError, match="defects: must be a study file, and is a folder; .* --data ./defects$"
    ):
        given_study("./defects")  # a path means what lies there


@pytest.mark.parametrize("name", ["my list.CSV", "known.tar.gz", "a.zip"])
def test_lists_and_archives_of_pictures_are_told_by_their_flag(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(b"path,label\n\xff\n")
    told = f"{name}: must be a study file, and is an archive or a list; pictures are given by --data {shlex.quote(name)}"
    with pytest.raises(SpecError) as error:
        given_study(name)
    assert str(error.value) == told


def test_a_name_that_nothing_has_is_refused_with_those_there_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        SpecError, match=r"defect: no such file.*quickstart.*did you mean 'defects'"
    ):
        given_study("defect")
    with pytest.raises(SpecError, match=r"defects\.yaml: no such file"):
        given_study("defects.yaml")
    with pytest.raises(SpecError, match=r"sub/defects: no such file"):
        given_study("sub/defects")
