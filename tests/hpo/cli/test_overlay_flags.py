import argparse

import pytest

from hpo.cli.overlay_flags import add_overlay_arguments, overlay_changes, overlay_from_args
from hpo.core.errors import SpecError
from hpo.study.sections import SearchOptions
from hpo.study.skill import load_skill
from trainer.session import TRAINER


def parsed(*words):
    parser = argparse.ArgumentParser()
    add_overlay_arguments(parser)
    return parser.parse_args(list(words))


def test_every_flag_lands_in_the_overlay():
    overlay = overlay_from_args(
        parsed(
            "--search-over",
            "a.x, a.y",
            "--search-over",
            "+a.z",
            "--range",
            "a.x=1e-5..1e-2,log",
            "--range",
            "a.y=-3..7",
            "--range",
            "a.w=1..2,linear",
            "--options",
            "a.n=16,32,64",
            "--options",
            "a.b=true,false",
            "--options",
            "a.t=resnet_50,timm/resnet18",
            "--fix",
            "a.f=0.5",
            "--fix",
            "a.s=[40, 70]",
        )
    )
    assert overlay.hyperparameters == ("a.x", "a.y")
    assert overlay.extra == ("a.z",)
    assert overlay.ranges == {
        "a.x": (1e-5, 1e-2, True),
        "a.y": (-3, 7, None),
        "a.w": (1, 2, False),
    }
    assert overlay.options == {
        "a.n": (16, 32, 64),
        "a.b": (True, False),
        "a.t": ("resnet_50", "timm/resnet18"),
    }
    assert overlay.fixed == {"a.f": 0.5, "a.s": [40, 70]}


def test_options_that_are_lists():
    overlay = overlay_from_args(parsed("--options", "a.s=[[10, 20], [30, 40]]"))
    assert overlay.options == {"a.s": ([10, 20], [30, 40])}


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("/data/lot #5/a.yaml,/b.yaml", ["/data/lot #5/a.yaml", "/b.yaml"]),
        ("#b, *c ,1e-4,null,true", ["#b", "*c", 1e-4, None, True]),
        ("'a,b',\"c #d\"", ["a,b", "c #d"]),
        ("{x: 1},{x: 2}", [{"x": 1}, {"x": 2}]),
        ("[1, 2]", [1, 2]),
        ("[1, 2],[3, 4]", [[1, 2], [3, 4]]),
        ("[1, 2],7", [[1, 2], 7]),
        ("[[1, 2]]", [[1, 2]]),
        ("16,32,", [16, 32]),
    ],
)
def test_each_of_several_values_is_a_word(text, values):
    assert overlay_changes(parsed("--options", f"a.x={text}")) == {"options": {"a.x": values}}


def test_values_of_a_key_that_holds_text_are_taken_whole():
    words = ("--options", "dataset.class_map=/data/a: b/1.yaml,007,yes")
    options = overlay_changes(parsed(*words), lambda: load_skill(TRAINER.skill_dir))["options"]
    assert options == {"dataset.class_map": ["/data/a: b/1.yaml", "007", "yes"]}


def test_last_word_on_a_parameter_counts():
    options = SearchOptions(
        over=("a.x",), ranges={"a.x": [1, 2], "a.y": [1, 2]}, options={"a.z": [1]}, fix={"a.w": 1},
        custom_param_ranges={"a.x": {"valid_min": 1}, "a.v": {"valid_max": 9}},
    )  # fmt: skip
    laid = options.updated(overlay_changes(parsed("--fix", "a.x=3", "--range", "a.w=5..6")))
    assert laid.fix == {"a.x": 3}
    assert laid.ranges == {"a.y": [1, 2], "a.w": [5, 6]}
    assert laid.options == {"a.z": [1]}
    assert laid.custom_param_ranges == {"a.v": {"valid_max": 9}}
    assert laid.over == ("a.x",)
    assert overlay_changes(parsed()) == {}


def test_an_empty_name_is_refused_without_a_study_too():
    with pytest.raises(SpecError, match="^--search-over: must be a list of names, got an empty"):
        overlay_from_args(parsed("--search-over", "a.x,"))


@pytest.mark.parametrize(
    "words",
    [
        ("--range", "a.x"),
        ("--range", "a.x=1"),
        ("--range", "a.x=1..b"),
        ("--range", "a.x=1..2,cubic"),
        ("--range", "=1..2"),
        ("--options", "a.x="),
        ("--options", "a.x=[1, 2"),
        ("--fix", "a.x"),
    ],
)
def test_wrong_form_is_one_line_naming_the_flag(words):
    with pytest.raises(SpecError, match=words[0]) as caught:
        overlay_from_args(parsed(*words))
    assert "\n" not in str(caught.value).strip()
