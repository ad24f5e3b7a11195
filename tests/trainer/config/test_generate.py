import json
import shutil
import subprocess
import sys

import yaml

from trainer.config.generate import SKILL_DIR, main, skill_files, stale_files


def test_checked_in_files_are_what_the_declarations_generate():
    assert stale_files(SKILL_DIR) == [], "run python -m trainer.config.generate"


def test_no_generated_file_is_left_over():
    kept = {p.relative_to(SKILL_DIR).as_posix() for p in SKILL_DIR.rglob("*") if p.is_file()}
    data = {name for name in kept if name.endswith((".json", ".yaml"))}
    assert {name for name in data if not name.startswith("evals/")} <= set(skill_files())


def test_check_names_a_stale_file_and_writing_mends_it(tmp_path, capsys):
    folder = tmp_path / "skill"
    shutil.copytree(SKILL_DIR, folder)
    assert main(["--check", "--out", str(folder)]) == 0
    (folder / "schemas" / "train.schema.json").write_text("{}")
    (folder / "references" / "skill_info.yaml").unlink()
    assert main(["--check", "--out", str(folder)]) == 1
    assert "train.schema.json" in capsys.readouterr().out
    assert main(["--out", str(folder)]) == 0
    assert main(["--check", "--out", str(folder)]) == 0


def test_output_does_not_depend_on_the_hash_seed(tmp_path):
    for seed in ("1", "2"):
        command = [sys.executable, "-m", "trainer.config.generate", "--check"]
        result = subprocess.run(command, env={"PYTHONHASHSEED": seed, "PATH": ""}, check=False)
        assert result.returncode == 0


def test_manifest_points_to_files_that_exist():
    manifest = json.loads((SKILL_DIR / "schemas" / "manifest.json").read_text())
    assert set(manifest["actions"]) == {
        "train",
        "evaluate",
        "inference",
        "export",
        "gen_trt_engine",
    }
    for entry in manifest["actions"].values():
        for name in ("path", "strict_path", "spec_template"):
            assert (SKILL_DIR / entry[name]).is_file()


def test_template_files_hold_the_default_of_their_schema():
    for path in sorted((SKILL_DIR / "schemas").glob("*.schema.json")):
        action = path.name.removesuffix(".schema.json")
        text = (SKILL_DIR / "references" / f"spec_template_{action}.yaml").read_text()
        assert yaml.safe_load(text) == json.loads(path.read_text())["default"]
