"""Wrong words at the command line: flags, budgets, names, numbers, for every verb."""

import pytest

from tests.bad_input.judging import Case

QUICK = "schema_version: 1\ntrainer: tests.quick_trainer:TRAINER\n"
FILES = {"study.yaml": QUICK}


def typed(words, *says, **more):
    name = words if isinstance(words, str) else " ".join(words)
    return Case(name=name[:90], words=words, says=says, **more)


def searched(words, *says, **more):
    """`hpo search` over the quick trainer's study with some flags."""
    split = words.split() if isinstance(words, str) else list(words)
    argv = ("hpo", "search", "study.yaml", "--in-process", *split)
    return Case(name="search " + " ".join(split)[:80], words=argv, says=says, files=FILES, **more)


BUDGETS = [
    searched(["--budget", text], "budget:", "twice" if text == "2h,3h" else "write 20")
    for text in (
        "0",
        "-3",
        "abc",
        "1e999h",
        "5x",
        "2h,3h",
        "1.5trials",
        "nan",
        "inf",
        "1e3",
        "0h",
        "0epochs",
        "20%",
        "２０",
        "9" * 500 + "h",
        "+20",
        "1h30m",
    )
]

CASES = [
    *BUDGETS,
    searched(["--budget", ""], "budget:", "nothing"),
    searched(["--budget", ","], "budget:", "nothing"),
    searched(["--budget"], "--budget", "value"),
    searched("--budget 1gpuh", "GPU"),
    searched("--seed x", "--seed", "x"),
    searched("--seed -1", "--seed", "-1"),
    searched("--seed 4294967296", "--seed", "4294967295"),
    searched("--seed 1.5", "--seed", "1.5"),
    searched("--concurrent 0", "--concurrent", "at least 1"),
    searched("--concurrent -2", "--concurrent", "-2"),
    searched("--concurrent 1000000000", "--concurrent"),
    searched("--confirm -1", "--confirm", "-1"),
    searched("--confirm many", "--confirm", "many"),
    searched("--until-converged nan", "--until-converged", "nan"),
    searched("--until-converged -5", "--until-converged", "-5"),
    searched("--max-latency 5", "--max-latency", "5ms"),
    searched("--max-latency fast", "--max-latency", "fast"),
    searched("--max-params many", "--max-params", "30M"),
    searched("--max-latency 5ms", "--max-latency", "measure"),
    searched("--algorithm tpee", "tpee", "'tpe'"),
    searched(["--algorithm", ""], "algorithm"),
    searched("--pruner medan", "medan", "median"),
    searched("--algorithm asha --algorithm-option reduction=3", "reduction_factor"),
    searched(
        "--algorithm asha --algorithm-option reduction_factor=no",
        "reduction_factor",
        "whole number",
    ),
    searched("--algorithm asha --algorithm-option reduction_factor", "--algorithm-option"),
    searched("--algorithm asha --pruner median", "asha", "median"),
    searched("--algorithm llm", "llm_model", "AUTOML_LLM_MODEL"),
    searched("--algorithm llm --algorithm-option llm_api_key=sk-12345", "environment"),
    searched(
        "--algorithm llm --algorithm-option llm_model=x --algorithm-option llm_base_url=ftp://x",
        "llm_base_url",
    ),
    searched("--algorithm autoresearch", "llm_model"),
    searched("--algorithm hybrid", "llm_model"),
    searched("--set train.lr", "--set", "key=value"),
    searched("--set =3", "--set", "key=value"),
    searched("--set train.lrr=3", "train.lrr"),
    searched(["--set", "train.lr={a: [1"], "--set train.lr", "YAML"),
    searched(
        ["--set", "train.lr=!!python/object/apply:os.system [ls]"], "--set train.lr", "!!python"
    ),
    searched(["--set", "train=3", "--set", "train.lr=4"], "train"),
    searched(["--set", ".".join("a" * 500) + "=1"], "parts"),
    searched("--range train.lr", "--range", "LOW..HIGH"),
    searched("--range train.lr=1", "--range", "LOW..HIGH"),
    searched("--range train.lr=a..b", "--range", "LOW..HIGH"),
    searched("--range train.lr=5..1", "train.lr", "5", "1"),
    searched("--range train.lr=nan..1", "train.lr", "nan"),
    searched("--range train.lr=0..1,log", "train.lr", "log"),
    searched("--range train.lr=0.1..1,cubic", "--range", "cubic"),
    searched("--range train.lrr=0.1..1", "train.lrr", "train.lr"),
    searched("--range train.lr=1..1e999", "train.lr", "inf"),
    searched("--options train.lr=", "--options", "NAME=A,B,C"),
    searched("--options train.lr=[", "--options train.lr"),
    searched("--options train.width=wide,narrow", "train.width", "wide"),
    searched("--fix train.lr", "--fix", "NAME=VALUE"),
    searched("--fix train.lrr=3", "train.lrr", "train.lr"),
    searched("--fix train.lr=1e30", "train.lr", "(0, 1]", "1e+30"),
    searched("--fix train.lr=-0.5", "train.lr", "(0, 1]", "-0.5"),
    searched("--fix train.width=0", "train.width", "[1, 1024]", "0"),
    searched("--fix train.width=2000", "train.width", "[1, 1024]", "2000"),
    searched("--fix train.width=wide", "train.width", "whole number", "wide"),
    searched("--fix train.width=12.5", "train.width", "whole number", "12.5"),
    searched("--fix train.margin=true", "train.margin", "number", "True"),
    searched("--options train.lr=1e30", "train.lr", "(0, 1]", "1e+30"),
    searched("--options train.width=12.5", "train.width", "whole number"),
    searched("--range train.width=20.2..20.8", "train.width", "no value"),
    searched("--range train.width=20..20", "train.width", "fix it"),
    searched("--fix train.num_epochs=0", "train.num_epochs", "0"),
    searched(
        "--fix train.lr=0.3 --fix train.margin=0.5 --fix train.width=100",
        "nothing is left to search",
    ),
    searched("--search-over train.lrr", "train.lrr", "train.lr"),
    searched("--search-over +", "--search-over"),
    searched("--name a/b", "--name", "a/b"),
    searched(["--name", ""], "--name"),
    searched(["--name", "x" * 300], "--name"),
    searched("--warm-start nowhere", "nowhere"),
    searched("--weights nowhere.pth", "nowhere.pth"),
    searched("--train a", "reference", "query"),
    searched("--data a --train b", "not both"),
    searched("--class-disjoint", "class_disjoint"),
    searched("--test-query q", "test_query"),
    searched("--out study.yaml", "study.yaml", "--out"),
    searched("--out /proc/nowhere", "/proc/nowhere", "--out"),
    searched(["--out", "x\n" * 2 + "y" * 300], "--out"),
    searched("--in-procss", "--in-procss"),
    searched("more words", "words"),
    typed("hpo searhc", "searhc", "search"),
    typed("hpo --versoin", "--versoin"),
    typed(["hpo", ""], "''"),
    typed("hpo plan --price-per-gpu-hour -1", "--price-per-gpu-hour", "-1"),
    typed("hpo plan --price-per-gpu-hour nan", "--price-per-gpu-hour", "nan"),
    typed("hpo space nowhere.yaml", "nowhere.yaml"),
    typed("hpo space --sample 0", "--sample", "0"),
    typed("hpo space --sample -1", "--sample", "-1"),
    typed("hpo space --sample many", "--sample", "many"),
    typed("hpo space --sample 1000000000000", "--sample"),
    typed("hpo space --seed -1 --sample 1", "--seed", "-1"),
    typed("hpo space --trials 0", "--trials", "0"),
    typed("hpo space --plot space.gif", "space.gif", ".png", ".html"),
    typed("hpo space --skill nowhere", "nowhere"),
    typed("hpo space --schema nowhere.json", "nowhere.json"),
    typed("hpo space --schema a.json --skill b", "--schema", "--skill"),
    typed("hpo algorithms nothing", "nothing"),
    typed("hpo algorithms ash", "'asha'"),
    typed("hpo cache wipe", "wipe"),
    typed("hpo cache clear --older-than soon --yes", "--older-than", "soon"),
    typed("hpo cache clear --older-than -3d --yes", "--older-than"),
    typed("hpo cache clear", "--yes"),
    typed("hpo cache clear nothing --yes", "nothing"),
    typed("hpo cache ls --yes", "clear"),
    typed("hpo cache --trainer nobody", "nobody", "ml_recog"),
    typed("hpo doctor --trainer nobody --data .", "nobody", "ml_recog"),
    typed("hpo doctor nowhere.yaml", "nowhere.yaml"),
    typed("hpo completion fsh", "fsh", "bash"),
    typed("hpo completion", "SHELL"),
    typed("hpo job", "ACTION"),
    typed("hpo job status", "job id"),
    typed("hpo job status nothing", "nothing"),
    typed("hpo job logs ../../etc", "../../etc"),
    typed("hpo job stop nothing", "nothing"),
    typed("hpo job evalute", "evalute", "evaluate"),
    typed("hpo job evaluate --parent nothing", "nothing"),
    typed("hpo job train --resume nothing", "nothing"),
    typed("hpo job evaluate train-1", "--parent"),
    typed("hpo job train --weights nowhere.pth --data .", "nowhere.pth"),
    typed("hpo job train --skill-dir nowhere", "nowhere"),
    typed("hpo job train --set train.num_epoch=3 --data .", "train.num_epoch"),
    typed("hpo job train --data nowhere", "nowhere"),
    typed("hpo job logs x --tail 0", "--tail"),
    typed("hpo automl", "--skill-dir"),
    typed("hpo automl --skill-dir nowhere", "nowhere"),
    typed("hpo automl --skill-bank nowhere --skill x", "nowhere"),
    typed("hpo automl list", "--skill-bank"),
    typed("hpo automl list --skill-bank nowhere", "nowhere"),
    typed("hpo automl --skill-dir . --policy maybe", "policy", "on, off or auto", "maybe"),
    typed("hpo automl --skill-dir . --max-hours -1", "--max-hours"),
    typed("hpo predict", "IMAGE"),
    typed("hpo predict nowhere.jpg", "nowhere.jpg"),
    typed("hpo predict nowhere.jpg --topk 0", "--topk"),
    typed("hpo logs", "TRIAL"),
    typed("hpo logs x", "x"),
    typed("hpo logs 3 --tail 0", "--tail"),
    typed("ml_recog train", "-e"),
    typed("ml_recog tune -e s.yaml", "tune", "train"),
    typed("ml_recog train -e s.yaml --fast", "--fast"),
    typed("ml_recog train -e", "-e"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_wrong_words_are_one_line(case, answered):
    line = answered(case)
    assert all(word in line for word in case.says)
