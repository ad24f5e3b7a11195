import pytest

from hpo.core.switches import is_switched_off

NAME = "HPO_TESTED_SWITCH"


@pytest.mark.parametrize("word", ["off", " off ", "0", "No", "FALSE"])
def test_words_that_switch_off(monkeypatch, caplog, word):
    monkeypatch.setenv(NAME, word)
    assert is_switched_off(NAME)
    assert not caplog.text


@pytest.mark.parametrize("word", [None, "", "on", "1", "Yes", " true"])
def test_words_that_do_not(monkeypatch, caplog, word):
    if word is not None:
        monkeypatch.setenv(NAME, word)
    assert not is_switched_off(NAME)
    assert not caplog.text


def test_another_word_is_told_once(monkeypatch, caplog):
    monkeypatch.setenv(NAME, "offf")
    assert not is_switched_off(NAME)
    assert not is_switched_off(NAME)
    (line,) = caplog.messages
    assert line.startswith("HPO_TESTED_SWITCH: must be on (1, yes, true) or off")
    assert "got 'offf'" in line
