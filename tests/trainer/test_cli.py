import os
import re
import signal
import subprocess
import sys
import time

import pytest

from trainer import cli
from trainer.config.root import ACTIONS
from trainer.config.skill_info import deploy_info, skill_info
from trainer.errors import DivergedError


@pytest.fixture
def spec_path(tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text("train: {num_epochs: 2}\n")
    return path


def run(*words):
    """Run the command in a process of its own, as a terminal does."""
    command = [sys.executable, "-m", "trainer.cli", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def last_line(text):
    return text.rstrip("\n").rpartition("\n")[2]


def test_help_shows_how():
    result = run("--help")
    assert result.returncode == 0
    for action in ACTIONS:
        assert action in result.stdout
    assert "ml_recog train -e spec.yaml" in result.stdout


def test_help_loads_nothing_heavy():
    code = (
        "import sys\nfrom trainer.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print('|', *{'torch', 'numpy', 'yaml', 'timm'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.rpartition("|")[2].split() == []


@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_explains_itself(action):
    result = run(action, "-h")
    assert result.returncode == 0
    assert f"ml_recog {action} -e spec.yaml" in result.stdout


def test_published_command_lines_are_understood():
    parser = cli._parser()
    for info in (skill_info(), deploy_info()):
        for action, facts in info["actions"].items():
            words = facts["command"].format(config_path="/specs/spec.yaml").split()
            assert words[0] == "ml_recog"
            options = parser.parse_args(words[1:])
            assert (options.action, str(options.spec)) == (action, "/specs/spec.yaml")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "-e", "none.yaml"], "none.yaml: no such spec file"),
        (["train", "-e", "SPEC"], "dataset.train_dataset: must be given for train"),
        (["train", "-e", "SPEC", "train.num_epoch=3"], "did you mean train.num_epochs?"),
        (["train", "train.seed=x", "-e", "SPEC"], "train.seed: must be a whole number"),
        (["evaluate", "-e", "SPEC", "topk"], "overrides must be spelt key=value"),
        (["export", "-e", "SPEC"], "export.checkpoint: must be given for export"),
    ],
)
def test_user_error_is_one_line_and_code_2(spec_path, words, message):
    result = run(*[spec_path if word == "SPEC" else word for word in words])
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith(f"ml_recog {words[0]}: error: ")
    assert message in result.stderr


@pytest.mark.parametrize(
    "words", [["tune", "-e", "s"], ["train"], ["train", "-e", "s", "--fast"], ["train", "-e"]]
)
def test_wrong_usage_is_one_line_and_code_2(words):
    result = run(*words)
    assert result.returncode == 2
    assert result.stderr.startswith("ml_recog")
    assert "--help` lists" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-e", "a", "-e", "b"], "is given twice, with a and b; leave one out"),
        (["-e", "a", "--experiment-spec", "b"], "is given twice, with a and b; leave one out"),
        (["-e", "a", "--ignore-unm"], "--ignore-unm: no such option"),
        (["--experiment", "a"], "the following arguments are required: -e"),
    ],
)
def test_options_have_one_value_and_their_whole_names(words, said, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["evaluate", *words])
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_overrides_stand_on_both_sides_of_the_file(spec_path, monkeypatch):
    """Of which a shell leaves the ~ as it is."""
    seen = install(monkeypatch, "gen_trt_engine", lambda _: {})
    monkeypatch.setenv("HOME", str(spec_path.parent))
    words = ["gen_trt_engine.onnx_file=m.onnx", f"--experiment-spec=~/{spec_path.name}"]
    words += ["trt_engine=m.engine", "trt_data_type=FP16"]
    assert cli.main(["gen_trt_engine", *words]) == 0
    engine = seen[0].gen_trt_engine
    assert (engine.onnx_file, engine.trt_engine) == ("m.onnx", "m.engine")
    assert engine.tensorrt.data_type == "FP16"


def install(monkeypatch, action, runner):
    """Put a runner of the test's own in the table of actions."""
    seen = []

    def recorded(spec):
        seen.append(spec)
        return runner(spec)

    monkeypatch.setitem(cli._RUNNERS, action, recorded)
    return seen


def ending(monkeypatch, capsys, spec_path, runner):
    install(monkeypatch, "export", runner)
    code = cli.main(["export", "-e", str(spec_path), "export.checkpoint=c"])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def raiser(error):
    def runner(_):
        raise error

    return runner


def test_results_go_to_stdout_and_the_last_line_says_done(monkeypatch, capsys, spec_path):
    code, out, err = ending(monkeypatch, capsys, spec_path, lambda _: {"file": "m.onnx"})
    assert (code, out) == (0, "file: m.onnx\n")
    assert re.fullmatch(
        r"ml_recog export: done in \d+\.\d s; results in \S+/export", last_line(err)
    )


def test_failure_of_the_run_is_one_line_and_code_2(monkeypatch, capsys, spec_path):
    error = DivergedError("epoch 3: the loss is nan;\n lower train.optim.trunk.base_lr")
    code, _, err = ending(monkeypatch, capsys, spec_path, raiser(error))
    assert code == 2
    assert err == (
        "ml_recog export: error: epoch 3: the loss is nan; lower train.optim.trunk.base_lr\n"
    )


def test_bug_is_code_1_with_its_traceback(monkeypatch, capsys, spec_path):
    code, _, err = ending(monkeypatch, capsys, spec_path, raiser(ZeroDivisionError("oops")))
    assert code == 1
    assert "Traceback" in err
    assert last_line(err) == "ml_recog export: failed by a bug: ZeroDivisionError: oops"


def test_interrupt_is_code_130(monkeypatch, capsys, spec_path):
    code, _, err = ending(monkeypatch, capsys, spec_path, raiser(KeyboardInterrupt()))
    assert code == 130
    assert last_line(err) == "ml_recog export: interrupted"


def test_termination_ends_as_an_interrupt_does(monkeypatch, capsys, spec_path):
    def runner(_):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    before = signal.getsignal(signal.SIGTERM)
    code, _, err = ending(monkeypatch, capsys, spec_path, runner)
    assert code == 130
    assert last_line(err) == "ml_recog export: interrupted"
    assert signal.getsignal(signal.SIGTERM) is before


def test_missing_package_says_what_to_install(monkeypatch, capsys, spec_path):
    error = ModuleNotFoundError("No module named 'timm'", name="timm")
    code, _, err = ending(monkeypatch, capsys, spec_path, raiser(error))
    assert code == 2
    assert "timm is not installed; pip install 'hpo-recognition[all]'" in err


def test_ignore_unmatched_reaches_the_spec(monkeypatch, spec_path):
    seen = install(monkeypatch, "evaluate", lambda _: {})
    words = ["evaluate", "-e", str(spec_path), "--ignore-unmatched", "evaluate.checkpoint=c"]
    words += ["dataset.val_dataset={reference: r, query: q}"]
    assert cli.main(words) == 0
    assert seen[0].dataset.ignore_unmatched


def test_single_values_of_a_result_are_shown_and_lists_are_not():
    result = {"metrics": {"p": 0.25}, "file": "a.onnx", "hits": [1, 2], "count": 3}
    assert cli._shown(result) == ["metrics.p: 0.25", "file: a.onnx", "count: 3"]


def test_words_without_effect_are_named_and_keys_of_the_file_are_not(monkeypatch, capsys, tmp_path):
    file = tmp_path / "spec.yaml"
    file.write_text(
        "dataset: {train_dataset: t, val_dataset: {reference: r, query: q}}\n"
        "train: {optim: {schedule: cosine, steps: [3]}}\n"
    )
    install(monkeypatch, "train", lambda _: {})
    words = ["train.optim.gamma=0.3", "train.optim.warmup_iters=7", f"results_dir={tmp_path}"]
    assert cli.main(["train", "-e", str(file), *words]) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "does nothing" in line]
    assert len(said) == 1
    assert "train.optim.gamma is set and does nothing: train.optim.schedule is cosine" in said[0]
