from hpo.core.expected import Expected, expected_words

FOUND = Expected(
    value=0.895, trials=11, drop=0.0148, drop_error=0.0071, expected=0.8802, interval=(0.8731, 0.8873),
    noise=0.0092, tied=("trial 4", "the default"),
)  # fmt: skip


def test_one_line_says_what_chose_the_winner_and_what_to_expect():
    assert FOUND.words("P@1") == [
        "validation P@1 0.8950 chose this trial among 11 trials trained as long; on new pictures like "
        "these expect 0.880 (0.873 to 0.887)",
        "a tie with trial 4 and the default: the difference may be chance",
    ]


def test_it_is_read_back_from_a_report_and_absent_in_those_of_earlier_releases():
    kept = FOUND.to_json()
    assert kept["interval"] == [0.8731, 0.8873]
    assert expected_words(kept, "val_precision_at_1") == FOUND.words("P@1")
    assert expected_words(None, "val_precision_at_1") == []
