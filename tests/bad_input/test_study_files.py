"""Malformed study files."""

import pytest

from tests.bad_input.judging import Case

HEAD = "schema_version: 1\n"
QUICK = HEAD + "trainer: tests.quick_trainer:TRAINER\n"
PLAN = "hpo search study.yaml --in-process"
LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join(['*' + above] * 10)}]\n"
    for above, name in zip("abcdefgh", "bcdefghi", strict=True)
)


def study(name, text, *says, words=PLAN):
    return Case(name=name, words=words, files={"study.yaml": text}, says=("study.yaml", *says))


def planned(name, text, *says):
    """A file that reads well; what is wrong shows when it is merged with flags, so that its key is named."""
    return Case(name=name, words=PLAN, files={"study.yaml": text}, says=says)


CASES = [
    study("empty", "", "mapping of keys"),
    study("a list", "- 1\n- 2\n", "mapping of keys", "list"),
    study("a number", "42", "mapping of keys"),
    study("prose", "please search well", "mapping of keys"),
    study("json", '{"schema_version": 1, "budget": }', "budget", "nothing"),
    study("binary", bytes(range(256)), "UTF-8"),
    study("utf-16", "schema_version: 1\n".encode("utf-16"), "text"),
    study("nul", b"schema_version: 1\x00\n", "YAML"),
    study("tabs", "schema_version: 1\n\tbudget: 3\n", "line 2"),
    study("open quote", 'schema_version: 1\nname: "shop\n', "line"),
    study("open bracket", "schema_version: 1\nsearch: {over: [a, b\n", "line"),
    study("python tag", HEAD + "name: !!python/object/apply:os.system ['touch pwned']\n", "line 2"),
    study("python name tag", HEAD + "spec: !!python/name:os.system\n", "line 2"),
    study("unknown tag", HEAD + "name: !shop x\n", "line 2"),
    study("unknown alias", HEAD + "name: *shop\n", "line 2"),
    study("alias of itself", HEAD + "spec: &s\n  train: *s\n", "aliases"),
    study("alias bomb", HEAD + LAUGHS, "aliases"),
    planned(
        "alias bomb below spec",
        HEAD + "spec:\n" + "".join(f"  {line}\n" for line in LAUGHS.splitlines()),
        "aliases",
    ),
    study(
        "bomb in a list of names",
        HEAD + "search:\n  over: " + "[" * 20 + "x" + "]" * 20 + "\n",
        "search.over",
    ),
    study("deep", HEAD + "spec: " + "{a: " * 2000 + "1" + "}" * 2000 + "\n", "deep"),
    study("two documents", HEAD + "---\nname: x\n", "document"),
    study("twice", HEAD + "budget: 3\nbudget: 9\n", "budget", "twice"),
    study("twice below", HEAD + "spec:\n  train:\n    seed: 1\n    seed: 2\n", "seed", "twice"),
    study("key is a list", HEAD + "[1, 2]: 3\n", "line 2"),
    study("key is a number", HEAD + "3: x\n", "3"),
    study("key is null", HEAD + "~: x\n", "unknown key"),
    planned("key is a date", HEAD + "spec:\n  2020-01-01: 3\n", "2020-01-01"),
    study("no such date", HEAD + "name: !!timestamp 2020-13-45\n", "YAML"),
    study("no version", "name: x\n", "schema_version must be 1"),
    study("version of tomorrow", "schema_version: 2\n", "schema_version must be 1", "2"),
    study("version as text", "schema_version: one\n", "schema_version must be 1"),
    study("version true", "schema_version: true\n", "schema_version must be 1"),
    study("unknown key", HEAD + "budgett: 3\n", "'budgett'", "did you mean 'budget'"),
    study("unknown search key", HEAD + "search: {algoritm: tpe}\n", "did you mean 'algorithm'"),
    study("unknown data key", HEAD + "data: {trains: x}\n", "did you mean 'train'"),
    study("name is a list", HEAD + "name: [3]\n", "name: must be text", "3"),
    study("name is null", HEAD + "name: null\n", "name: must be text", "nothing"),
    study("name has a slash", HEAD + "name: a/b\n", "name", "a/b"),
    study("name is dots", HEAD + "name: ..\n", "name", ".."),
    study("name is empty", HEAD + "name: ''\n", "name"),
    study("name is long", HEAD + f"name: {'x' * 400}\n", "name"),
    study("name has a newline", HEAD + 'name: "a\\nb"\n', "name"),
    study("name is a bell", HEAD + 'name: "a\\x07"\n', "name"),
    study("budget negative", HEAD + "budget: -3\n", "budget", "-3"),
    study("budget a list", HEAD + "budget: [3]\n", "budget: must be"),
    study("budget nan", HEAD + "budget: .nan\n", "budget"),
    study("budget true", HEAD + "budget: true\n", "budget"),
    study("budget a fraction", HEAD + "budget: 1.5\n", "budget"),
    study("search is a list", HEAD + "search: [tpe]\n", "search: must be a mapping"),
    study("data is text", HEAD + "data: photos\n", "data: must be a mapping"),
    study("spec is text", HEAD + "spec: fast\n", "spec: must be a mapping"),
    study("seed is text", HEAD + "search: {seed: x}\n", "search.seed: must be a whole number"),
    study("seed is octal", HEAD + "search: {seed: 010}\n", "search.seed", "'010'"),
    study("seed is a time", HEAD + "search: {seed: 1:30}\n", "search.seed", "'1:30'"),
    study("seed is a date", HEAD + "search: {seed: 2026-01-31}\n", "search.seed", "'2026-01-31'"),
    study("seed is negative", HEAD + "search: {seed: -1}\n", "search.seed", "-1"),
    study("seed is huge", HEAD + "search: {seed: 99999999999999999999999}\n", "search.seed"),
    study("seed is a truth", HEAD + "search: {seed: true}\n", "search.seed"),
    study("confirm is negative", HEAD + "search: {confirm: -1}\n", "search.confirm", "-1"),
    study("concurrent is zero", HEAD + "concurrent: 0\n", "concurrent", "0"),
    study("concurrent is half", HEAD + "concurrent: 0.5\n", "concurrent", "0.5"),
    study("converged is nan", HEAD + "search: {until_converged: .nan}\n", "until_converged", "nan"),
    study(
        "converged is infinite",
        HEAD + "search: {until_converged: .inf}\n",
        "until_converged",
        "inf",
    ),
    study("latency without a unit", HEAD + "search: {max_latency: '5'}\n", "max_latency", "5ms"),
    study("latency is a number", HEAD + "search: {max_latency: 5}\n", "max_latency"),
    study("params are few", HEAD + "search: {max_params: '-3M'}\n", "max_params", "-3M"),
    study("over is text", HEAD + "search: {over: train.lr}\n", "search.over"),
    planned("over has numbers", HEAD + "search: {over: [3]}\n", "3: no such parameter"),
    study("over has a list", HEAD + "search: {over: [[3]]}\n", "search.over", "3"),
    study("over of nothing", HEAD + "search: {over: ['+']}\n", "search.over"),
    study(
        "range is a number", HEAD + "search: {ranges: {train.lr: 3}}\n", "search.ranges.train.lr"
    ),
    study(
        "range of three",
        HEAD + "search: {ranges: {train.lr: [1, 2, 3]}}\n",
        "search.ranges.train.lr",
    ),
    planned("range is nan", QUICK + "search: {ranges: {train.lr: [.nan, 1]}}\n", "train.lr"),
    study(
        "range of words",
        HEAD + "search: {ranges: {train.lr: [low, high]}}\n",
        "search.ranges.train.lr",
    ),
    study(
        "options are empty", HEAD + "search: {options: {train.lr: []}}\n", "search.options.train.lr"
    ),
    planned("algorithm unknown", QUICK + "search: {algorithm: tpee}\n", "tpee", "tpe"),
    study("algorithm is a list", HEAD + "search: {algorithm: [tpe]}\n", "search.algorithm"),
    planned("pruner unknown", QUICK + "search: {pruner: medan}\n", "medan", "median"),
    planned(
        "option unknown",
        QUICK + "search: {algorithm: asha, algorithm_options: {reduction: 3}}\n",
        "reduction_factor",
    ),
    planned(
        "option of a wrong type",
        QUICK + "search: {algorithm: asha, algorithm_options: {reduction_factor: x}}\n",
        "reduction_factor",
        "'x'",
    ),
    planned(
        "option out of range",
        QUICK + "search: {algorithm: asha, algorithm_options: {reduction_factor: 1}}\n",
        "reduction_factor",
        "1",
    ),
    planned("trainer unknown", HEAD + "trainer: ml_reco\n", "ml_reco", "ml_recog"),
    study("trainer is a shell command", HEAD + "trainer: 'os:system@touch pwned'\n", "trainer"),
    study("trainer is a module", HEAD + "trainer: this:ZEN\n", "trainer"),
    study("data half given", HEAD + "data: {train: a}\n", "reference and query"),
    study("data given twice", HEAD + "data: {folder: a, train: b}\n", "not both"),
    planned("data nowhere", HEAD + "data: {folder: photos}\n", "photos"),
    study("disjoint without a folder", HEAD + "data: {class_disjoint: true}\n", "class_disjoint"),
    planned("weights nowhere", HEAD + "weights: w.pth\n", "w.pth"),
    study("weights are a list", HEAD + "weights: [w.pth]\n", "weights: must be text"),
    planned(
        "spec key unknown",
        HEAD + "spec: {train: {num_epoch: 3}}\n",
        "train.num_epoch",
        "train.num_epochs",
    ),
    planned(
        "spec value of a wrong type",
        HEAD + "spec: {train.num_epochs: many}\n",
        "train.num_epochs",
        "many",
    ),
    planned(
        "spec value is nan",
        HEAD + "spec: {train.optim.trunk.base_lr: .nan}\n",
        "train.optim.trunk.base_lr",
        "nan",
    ),
    planned("spec epochs of none", HEAD + "spec: {train.num_epochs: 0}\n", "train.num_epochs", "0"),
    study("spec value and section", HEAD + "spec: {train: 3, train.seed: 4}\n", "train"),
    planned("warm start nowhere", QUICK + "search: {warm_start: [nowhere]}\n", "nowhere"),
    Case(name="missing", words=PLAN, says=("study.yaml", "no such file")),
    Case(
        name="a folder",
        words=PLAN,
        make=lambda d: (d / "study.yaml").mkdir(),
        says=("study.yaml", "folder"),
    ),
    Case(
        name="a broken link",
        words=PLAN,
        make=lambda d: (d / "study.yaml").symlink_to("gone"),
        says=("study.yaml",),
    ),
    Case(
        name="a link to itself",
        words=PLAN,
        make=lambda d: (d / "study.yaml").symlink_to("study.yaml"),
        says=("study.yaml",),
    ),
    Case(name="an endless device", words="hpo search /dev/zero --in-process", says=("/dev/zero",)),
    Case(
        name="a pipe nobody writes to",
        words=PLAN,
        make=lambda d: __import__("os").mkfifo(d / "study.yaml"),
        says=("study.yaml",),
    ),
    study("read by space", "budget: 3", "schema_version", words="hpo space study.yaml"),
    study(
        "read by plan",
        HEAD + "budgett: 3\n",
        "did you mean 'budget'",
        words="hpo plan study.yaml --in-process",
    ),
    study(
        "read by doctor",
        HEAD + "budgett: 3\n",
        "did you mean 'budget'",
        words="hpo doctor study.yaml",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_malformed_study_file_is_one_line(case, answered):
    line = answered(case)
    assert all(word in line for word in case.says)
