"""The AutoML policy of requests as people write them: the sentences of requests.yaml."""

from pathlib import Path

import yaml

SENTENCES = Path(__file__).with_name("requests.yaml")


ANSWERS = ("on", "off", "unclear")


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
