"""An installation of the two base packages alone: every verb and call answers in one line."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from PIL import Image

from hpo.cli.main import VERBS
from hpo.core.process.extras import explain_missing

_STREAM = io.BytesIO()
Image.new("RGB", (8, 8)).save(_STREAM, "PNG")
PNG = _STREAM.getvalue()
ROOT = Path(__file__).resolve().parents[4]
SITE = Path(jsonschema.__file__).resolve().parents[1]
BASE = (
    *("yaml", "_yaml", "jsonschema", "jsonschema_specifications", "referencing", "rpds", "attr"),
    *("attrs", "typing_extensions.py"),
)


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """Folders with those packages, ours, and the command `hpo`."""
    folder = tmp_path_factory.mktemp("bare")
    for name in BASE:
        if (SITE / name).exists():
            (folder / name).symlink_to(SITE / name)
    for name in ("hpo", "trainer", "search_spaces", "studies"):
        (folder / name).symlink_to(ROOT / name)
    info = next(SITE.glob("hpo_recognition-*.dist-info"))
    (folder / info.name).symlink_to(info)
    return folder


def call(bare, code, *words, cwd):
    start = f"import sys; sys.path.append({str(bare)!r}); sys.argv[0] = 'hpo'\n"
    environment = {"PATH": os.environ["PATH"], "HOME": str(cwd)}
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", start + code, *words], cwd=cwd, env=environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


HPO = "from hpo.core.process.start import hpo\nsys.exit(hpo())"
ML_RECOG = "from hpo.core.process.start import ml_recog\nsys.exit(ml_recog())"


@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], ["space"], ["ls"], ["search", "--help"]]
)
def test_what_needs_no_extra_works(bare, words, tmp_path):
    done = call(bare, HPO, *words, cwd=tmp_path)
    assert "Traceback" not in done.stderr
    assert done.returncode in (0, 2), done.stderr


def test_the_package_run_as_a_module_is_the_command(bare, tmp_path):
    code = "import runpy; runpy.run_module('hpo', run_name='__main__', alter_sys=True)"
    done = call(bare, code, "cache", cwd=tmp_path)
    said = "hpo: numpy is not installed; pip install 'hpo-recognition[all]'\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder with a finished run, pictures, and files that take the place of models."""
    folder = tmp_path_factory.mktemp("desk")
    shutil.unpack_archive(ROOT / "tests" / "old_runs" / "version_0_2_0.tar.gz", folder)
    (folder / "version_0_2_0").rename(folder / "runs")
    for study in folder.glob("runs/*/study.yaml"):
        study.write_text(study.read_text().replace("tests.quick_trainer:TRAINER", "ml_recog"))
    for name in ("train", "reference", "query"):
        (folder / name / "a").mkdir(parents=True)
        (folder / name / "a" / "1.png").write_bytes(PNG)
    for name in ("model.ckpt", "model.onnx"):
        (folder / name).write_bytes(b"a model")
    data = {"train_dataset": "train", "val_dataset": {"reference": "reference", "query": "query"}}
    model = {"evaluate.checkpoint": "model.onnx", "inference.checkpoint": "model.ckpt"}
    model |= {"inference.input_path": "query", "export.checkpoint": "model.ckpt"}
    model |= {"gen_trt_engine.onnx_file": "model.onnx", "gen_trt_engine.trt_engine": "model.engine"}
    (folder / "spec.yaml").write_text(json.dumps({"dataset": data, **model}))
    (folder / "SKILL").symlink_to(ROOT / "trainer/skill")
    return folder


SPLITS = ["--train", "train", "--reference", "reference", "--query", "query"]
NEEDING = [
    ["search"], ["search", "--in-process"], ["search", *SPLITS], ["search", "--data", "train"],
    ["plan"], ["screen", *SPLITS[2:]], ["resume", "runs/interrupted", "--budget", "9"],
    ["why", "runs/finished", "0"], ["export", "runs/finished"],
    ["predict", "runs/finished", "query/a/1.png"], ["gallery", "runs/finished"], ["serve", "runs/finished"],
    ["gallery", "runs/finished", "--add", "train"], ["ui", "runs/finished"], ["cache"],
    ["cache", "clear", "--yes"], ["automl", "--skill-dir", "SKILL", "--yes"],
]  # fmt: skip
LINE = re.compile(r"(hpo|ml_recog)( \w+)?: (error: )?\w+ is not installed; (pip |.*extra).*")


@pytest.mark.parametrize("words", NEEDING, ids=" ".join)
def test_a_verb_that_needs_more_says_what_to_install(bare, desk, words):
    done = call(bare, HPO, *words, cwd=desk)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert LINE.fullmatch(line), line


@pytest.mark.parametrize("action", ["train", "evaluate", "inference", "export", "gen_trt_engine"])
def test_an_action_says_what_to_install(bare, desk, action):
    done = call(bare, ML_RECOG, action, "-e", "spec.yaml", cwd=desk)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert LINE.fullmatch(line), line


def test_every_verb_is_looked_at():
    able = {"ls", "status", "logs", "stop", "report", "job", "doctor", "space", "algorithms"}
    able |= {"init", "use", "best"}
    assert {words[0] for words in NEEDING} | able | {"completion"} == set(VERBS)


def test_a_job_says_what_to_install(bare, desk):
    sets = [
        "--set",
        "dataset.train_dataset=train",
        "--set",
        "dataset.val_dataset.reference=reference",
    ]
    done = call(
        bare, HPO, "job", "train", *sets, "--set", "dataset.val_dataset.query=query", cwd=desk
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [["status"], ["logs", "0"], ["stop"], ["report"], ["best"]])
def test_a_verb_that_reads_a_run_has_no_traceback(bare, desk, words):
    done = call(bare, HPO, *words[:1], "runs/finished", *words[1:], cwd=desk)
    assert done.returncode in (0, 2)
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 1


def test_doctor_says_what_is_missing(bare, tmp_path):
    done = call(bare, HPO, "doctor", cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "not installed: " in done.stdout
    assert re.search(r"torch +is not installed", done.stdout)


@pytest.mark.parametrize("name", ["search", "load", "AutoMLRunner", "query_status"])
def test_a_call_from_python_says_what_to_install(bare, name, tmp_path):
    done = call(bare, f"import hpo\nhpo.{name}", cwd=tmp_path)
    last = done.stderr.splitlines()[-1]
    assert last.startswith(
        "ImportError: numpy, optuna, ray, torch, plotly: not installed; pip install"
    )


def test_a_package_that_a_file_of_ours_asks_for_is_needed_whatever_its_name():
    from hpo.tracking import writer

    code = compile("import no_such_package", writer.__file__, "exec")
    with pytest.raises(ModuleNotFoundError) as caught:
        exec(code)  # noqa: S102 - as a file of ours
    assert explain_missing(caught.value).startswith("no_such_package is not installed; pip install")
    with pytest.raises(ModuleNotFoundError) as caught:
        __import__("no_such_package")
    assert explain_missing(caught.value) == ""


def test_a_part_of_python_is_no_package_to_install():
    said = explain_missing(ModuleNotFoundError("x", name="fcntl"))  # as on Windows
    assert said.startswith("fcntl, a part of Python, is not there on this system; use Linux")


def test_a_module_of_the_users_is_no_package_of_ours():
    assert explain_missing(ModuleNotFoundError("x", name="my_trainer")) == ""
    assert "torch is not installed" in explain_missing(ModuleNotFoundError("x", name="torch.nn"))
