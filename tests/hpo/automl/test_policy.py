"""The AutoML policy of a run: explicit values, and requests as people write them."""

from pathlib import Path

import pytest
import yaml

from hpo.automl.policy import resolve_policy
from hpo.core.yaml_io import parse_yaml

SENTENCES = Path(__file__).with_name("requests.yaml")
"""Committed before the rules. The second table was written without a look at them, the last beside them."""
TABLES = (SENTENCES, *(SENTENCES.with_stem(f"requests_{n}") for n in ("second", "more")))
ANSWERS = ("on", "off", "unclear")

VALUES = [
    ("on", True),
    ("off", False),
    ("auto", True),
    ("AUTO", True),
    (" Off ", False),
    (True, True),
    (False, False),
    (parse_yaml("off", "yaml"), False),
    (parse_yaml("on", "yaml"), True),
]

DECIDED_BY = [
    ("turn off AutoML", "turn off AutoML"),
    ("Please DISABLE automl for this one.", "DISABLE automl"),
    ("train it, no HPO", "no HPO"),
    ("a plain single training run, please", "plain single training run"),
    ("turn\n  AutoML off", "turn AutoML off"),
    ("don\u2019t use AutoML here", "don\u2019t use AutoML"),
    ("use AutoML ... no wait, plain training", "plain training"),
    ("With AutoML disabled, train on data.", "With AutoML disabled"),
    ("Turn off AutoML? Yes.", "Turn off AutoML? Yes"),
    ("我们训练时不要使用 AutoML。", "不要使用 AutoML"),
    ("train, automl_policy:   off", "automl_policy: off"),
]


def read_sentences(file):
    """Every sentence with its answer: on, off or unclear."""
    groups = yaml.safe_load(file.read_text())
    return [
        (text, answer) for group in groups for answer in ANSWERS for text in group.get(answer, [])
    ]


def is_chinese(text):
    return any("\u4e00" <= sign <= "\u9fff" for sign in text)


def test_the_table_has_both_languages_with_all_answers():
    sentences = read_sentences(SENTENCES)
    assert len({text for text, _ in sentences}) == len(sentences) >= 250
    for chinese, least in ((False, 10), (True, 4)):
        counts = [
            sum(answer == wanted and is_chinese(text) is chinese for text, answer in sentences)
            for wanted in ANSWERS
        ]
        assert min(counts) >= least


@pytest.mark.parametrize(
    ("text", "answer"), [pair for table in TABLES for pair in read_sentences(table)]
)
def test_a_request_is_read_as_the_tables_say(text, answer):
    policy = resolve_policy(None, text)
    assert policy.is_on is (answer != "off")
    assert bool(policy.unclear) is (answer == "unclear")
    if not policy.is_on:
        assert policy.phrase
        assert policy.phrase in " ".join(text.split())


@pytest.mark.parametrize(("text", "phrase"), DECIDED_BY)
def test_the_words_that_decide_are_shown(text, phrase):
    policy = resolve_policy(None, text)
    assert (policy.shown, policy.phrase) == ("off", phrase)
    assert repr(phrase) in policy.describe()


@pytest.mark.parametrize(("value", "is_on"), VALUES)
def test_18_explicit_values_resolve(value, is_on):
    policy = resolve_policy(value, "plain training, no HPO, automl_policy: off")
    assert (policy.is_on, policy.shown) == (is_on, "on" if is_on else "off")
    assert (policy.source, policy.phrase) == ("value", "")
    assert "automl_policy was given" in policy.describe()


@pytest.mark.parametrize("value", ["maybe", "none", 2, "of", ""])
def test_18_another_value_is_an_error(value):
    with pytest.raises(ValueError, match="automl_policy: must be on or off, got"):
        resolve_policy(value)


@pytest.mark.parametrize("request_text", ["automl_policy: maybe", "--set automl_policy=of"])
def test_another_value_in_a_request_is_an_error_too(request_text):
    with pytest.raises(ValueError, match="automl_policy: must be on or off, got"):
        resolve_policy(None, request_text)


def test_a_key_in_the_request_counts_as_a_value():
    policy = resolve_policy(None, "Plain training. automl_policy: on")
    assert (policy.is_on, policy.source, policy.phrase) == (True, "value", "automl_policy: on")


def test_18_the_default_is_on_and_says_so():
    policy = resolve_policy()
    assert (policy.shown, policy.source, policy.phrase) == ("on", "default", "")
    assert "default" in policy.describe()


def test_a_search_takes_the_policy_on_from_its_settings_and_refuses_off(run):
    with pytest.raises(ValueError, match=r"automl_settings\.automl_policy: off asks for one plain"):
        run(settings={"automl_policy": "off"})
    with pytest.raises(ValueError, match=r"spec_overrides\.automl_policy: off asks for one plain"):
        run(overrides={"automl_policy": False})
    with pytest.raises(ValueError, match="automl_policy: must be on or off, got 'of'"):
        run(settings={"automl_policy": "of"})
    asked = {"automl_policy": "on", "automl_max_recommendations": 1}
    assert run(settings=asked)["progress"]["completed"] == 1


def test_what_can_be_read_both_ways_is_said_with_the_default():
    policy = resolve_policy(None, "Should I turn off AutoML?")
    assert (policy.shown, policy.source, policy.phrase) == ("on", "default", "")
    assert policy.unclear == "turn off AutoML"
    assert "'turn off AutoML' can be read both ways" in policy.describe()
    assert "automl_policy: off" in policy.describe()
