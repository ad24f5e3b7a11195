"""The pages name everything that the code has, and notice when they have not been written anew."""

import dataclasses
import json
import subprocess

import pytest

from hpo.cli import reference_pages
from hpo.cli.main import VERBS, main
from hpo.core.event_json import EVENTS
from hpo.study.sections import DataSources, SearchOptions
from hpo.study.spec import StudySpec
from hpo.study.trainers import find_trainer
from tests.hpo.cli import json_page


def test_every_verb_has_its_help():
    page = reference_pages.cli_page()
    for verb in VERBS:
        assert f"## hpo {verb}\n" in page
    assert "--budget B" in page.split("## hpo search")[1].split("## hpo ")[0]


def test_every_key_of_a_study_file_is_explained():
    rows = {
        line.split("|")[1].strip(" `"): line.split("|")[3].strip()
        for line in reference_pages.study_page().splitlines()
        if line.startswith("| `")
    }
    for prefix, cls in (("", StudySpec), ("data.", DataSources), ("search.", SearchOptions)):
        for field in dataclasses.fields(cls):
            assert rows[prefix + field.name], field.name


def test_every_event_is_told_with_its_fields():
    page = json_page.PAGE.read_text().splitlines()
    for kind in EVENTS:
        names = [
            f"`{field.name}`{'?' * field.metadata.get('if_known', False)}"
            for field in dataclasses.fields(kind)
            if field.name != "time" and not field.metadata.get("flat")
        ]
        text = " ".join(kind.__doc__.partition("\n\n")[0].split())
        assert f"| `{kind.name}` | {text} | {', '.join(names)} |" in page


def test_every_verb_that_prints_json_has_a_section():
    told = {key[0] for key in json_page.SECTIONS} | {"search", "resume", "completion"}
    assert set(VERBS) <= told
    for key in json_page.SECTIONS.keys() - {("Events",)}:
        assert "- always: `" in json_page.SECTIONS[key], key


def test_every_searched_key_of_the_spec_is_bold():
    folder = find_trainer("ml_recog").skill_dir
    schema = json.loads((folder / "schemas" / "train.schema.json").read_text())
    page = reference_pages.spec_page()
    for name in schema["automl_default_parameters"]:
        assert f"| **`{name}`** |" in page
    assert "| `train.num_epochs` | int | `10` |" in page


def test_a_stale_page_is_noticed(tmp_path, capsys):
    assert reference_pages.main(["--folder", str(tmp_path)]) == 0
    assert reference_pages.main(["--check", "--folder", str(tmp_path)]) == 0
    (tmp_path / "spec.md").write_text("# old\n")
    assert reference_pages.main(["--check", "--folder", str(tmp_path)]) == 1
    assert str(tmp_path / "spec.md") in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_know_verbs_and_flags(shell, capsys, tmp_path):
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "--search-over" in script
    assert all(verb in script for verb in VERBS)
    if shell == "bash":
        file = tmp_path / "hpo.sh"
        file.write_text(script)
        ask = f'source {file}; COMP_WORDS=(hpo sea); COMP_CWORD=1; _shtab_hpo; echo "${{COMPREPLY[@]}}"'
        done = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True)
        assert done.stdout.split() == ["search"]
