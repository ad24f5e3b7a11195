import pytest

from hpo.core.budget import (
    DEFAULT_BUDGET,
    Budget,
    Spent,
    early_end,
    exhausted,
    extend_budget,
    fraction_used,
    gave_up,
    more_of,
    parse_budget,
    render_seconds,
)
from hpo.core.errors import SpecError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20", Budget(trials=20)),
        ("20trials", Budget(trials=20)),
        ("1 trial", Budget(trials=1)),
        ("45s", Budget(seconds=45)),
        ("90m", Budget(seconds=5400)),
        ("90min", Budget(seconds=5400)),
        ("2h", Budget(seconds=7200)),
        ("1.5h", Budget(seconds=5400)),
        ("1d", Budget(seconds=86400)),
        ("3gpuh", Budget(gpu_seconds=10800)),
        ("30gpum", Budget(gpu_seconds=1800)),
        ("500epochs", Budget(epochs=500)),
        ("50TRIALS, 2H", Budget(trials=50, seconds=7200)),
        (
            "50trials,2h,3gpuh,100epochs",
            Budget(trials=50, seconds=7200, gpu_seconds=10800, epochs=100),
        ),
    ],
)
def test_budget_grammar(text, expected):
    assert parse_budget(text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("5x", "'5x' is not understood"),
        ("", "a limit must be given, got nothing"),
        ("h", "'h' is not understood"),
        ("-3", "'-3' is not understood"),
        ("1e3", "'1e3' is not understood"),
        ("2h,", "a limit must be given, got nothing"),
        ("2h 3m", "not understood"),
        ("nan", "'nan' is not understood"),
        ("infh", "not understood"),
        ("0", "a positive whole number must stand before 'trials', got 0"),
        ("0h", "a positive number must stand before 'h', got 0"),
        ("1.5trials", "a positive whole number must stand before 'trials', got 1.5"),
        ("2.5epochs", "a positive whole number"),
        ("2h,3h", "limits seconds twice"),
        ("20,30trials", "limits trials twice"),
        (".5h", "'.5h' is not understood"),
        ("1..5h", "'1..5h' is not understood"),
        ("0.h", "a positive number must stand before 'h', got 0."),
        (f"0.{'0' * 400}1s", "a positive number"),
        ("9999999999999999999", "at most 1000000000000000 trials, got '9999999999999999999'"),
        ("1000000000000001epochs", "at most 1000000000000000 epochs"),
        ("277777777778gpuh", "at most 1000000000000000 gpu seconds, got '277777777778gpuh'"),
        ("9" * 400, "at most 1000000000000000 trials"),
        ("9" * 400 + "h", "at most 1000000000000000 seconds"),
    ],
)
def test_bad_budgets_are_one_clear_line(text, said):
    with pytest.raises(SpecError) as caught:
        parse_budget(text)
    message = str(caught.value)
    assert said in message
    assert message.startswith("budget: ")
    assert "\n" not in message


@pytest.mark.parametrize(
    "text",
    [
        "20",
        "90m",
        "1.5h",
        "12d",
        "1000gpuh",
        "0.1s",
        "1234567.25s",
        "500epochs,7trials",
        "2h,3gpuh",
    ],
)
def test_text_form_reads_back_as_the_same_budget(text):
    budget = parse_budget(text)
    assert parse_budget(budget.to_text()) == budget


@pytest.mark.parametrize("unit", ["s", "m", "h", "d", "gpus", "gpum", "gpuh"])
def test_fractions_of_a_unit_read_back_as_the_same_budget(unit):
    for number in range(1, 80):
        for text in (f"{number / 10}{unit}", f"0.0000{number}{unit}"):
            budget = parse_budget(text)
            assert parse_budget(budget.to_text()) == budget, text
            assert parse_budget(f"7,{budget.to_text()}").trials == 7
            more = extend_budget(budget, f"+0.7{unit}")
            assert parse_budget(more.to_text()) == more, text
            assert extend_budget(budget, more_of(budget)) != budget, text


@pytest.mark.parametrize(
    ("text", "written"),
    [("1.1h", "3960s"), ("4.1m", "246s"), ("0.7d", "60480s"), ("1.1gpuh", "3960gpus")],
)
def test_a_fraction_is_as_many_seconds_as_by_hand(text, written):
    assert parse_budget(text).to_text() == written


def test_limits_that_an_earlier_release_wrote_with_a_point_at_their_end_are_read():
    assert parse_budget("2,3960.s") == Budget(trials=2, seconds=3960)


def test_the_command_for_more_of_a_long_budget_is_one_that_is_read():
    budget = Budget(seconds=5_000_000.5, gpu_seconds=36e8)
    assert more_of(budget) == "+2500000.2s,+500000gpuh"
    assert extend_budget(budget, more_of(budget)).gpu_seconds == 54e8


def test_budget_in_words():
    assert str(Budget(trials=20, seconds=7200)) == "20 trials, 2h"
    assert str(Budget(trials=1)) == "1 trial"
    assert str(Budget(gpu_seconds=5400, epochs=30)) == "1.5 GPU hours, 30 epochs"


def test_plus_adds_and_a_plain_budget_replaces():
    old = Budget(trials=12, seconds=3600)
    assert extend_budget(old, "+20") == Budget(trials=32, seconds=3600)
    assert extend_budget(old, "+20,1h") == Budget(trials=32, seconds=7200)
    assert extend_budget(old, "+20,+1h") == Budget(trials=32, seconds=7200)
    assert extend_budget(old, " +30m , +7 ") == Budget(trials=19, seconds=5400)
    assert extend_budget(old, "40") == Budget(trials=40)


def test_plus_in_a_unit_without_a_limit_is_refused():
    # The old limit would still end the search, so the hours would never be spent.
    with pytest.raises(SpecError, match=r"\+2h: the budget of 20 trials has no limit on seconds"):
        extend_budget(Budget(trials=20), "+2h")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("+", "a limit must be given, got nothing"),
        ("+5x", "'5x' is not understood"),
        ("+-3", "'-3' is not understood"),
        ("++3", "every limit must have one \\+"),
        ("+5,++2h", "every limit must have one \\+"),
        ("+ +3", "every limit must have one \\+"),
        ("5x", "'5x' is not understood"),
        ("+5,+6", "limits trials twice"),
        ("+99999999999999999999", "at most 1000000000000000 trials"),
        ("+1000000000000000", "at most 1000000000000000 trials, got '1000000000000020trials'"),
        ("5,+2h", "'5,\\+2h': every limit must have one \\+"),
        ("+5,2h,+3gpuh", "every limit must have one \\+"),
    ],
)
def test_bad_extensions_are_refused(text, said):
    with pytest.raises(SpecError, match=f"^budget: .*{said}") as caught:
        extend_budget(DEFAULT_BUDGET, text)
    assert "earlier search" not in str(caught.value)


def test_first_limit_that_is_reached_ends_the_search():
    budget = Budget(trials=3, seconds=60, epochs=27)
    assert exhausted(budget, Spent(trials=2, seconds=59.9, epochs=26)) is None
    assert exhausted(budget, Spent(trials=3)) == "trials"
    assert exhausted(budget, Spent(seconds=60.0)) == "seconds"
    assert exhausted(budget, Spent(epochs=28)) == "epochs"
    assert exhausted(Budget(gpu_seconds=10), Spent(gpu_seconds=10.5, trials=999)) == "gpu_seconds"


def test_fraction_follows_the_nearest_limit():
    budget = Budget(trials=10, seconds=100)
    assert fraction_used(budget, Spent(trials=2, seconds=50)) == 0.5
    assert fraction_used(budget, Spent(trials=9, seconds=50)) == 0.9
    assert fraction_used(budget, Spent(trials=20)) == 1.0
    assert fraction_used(Budget(), Spent(trials=20)) == 0.0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0s"),
        (45.2, "45s"),
        (59.7, "1m 00s"),
        (60, "1m 00s"),
        (119.9, "2m 00s"),
        (200, "3m 20s"),
        (599.9, "10m"),
        (720, "12m"),
        (3599, "1h"),
        (3600, "1h"),
        (5400, "1h 30m"),
        (90000, "25h"),
    ],
)
def test_durations_for_people(seconds, words):
    assert render_seconds(seconds) == words


@pytest.mark.parametrize(
    ("because", "cause", "said"),
    [
        *((name, "", "") for name in ("", "trials", "seconds", "gpu_seconds", "epochs")),
        ("algorithm", "", "the algorithm has no more trials to propose"),
        ("converged: nothing gained", "", "converged: nothing gained"),
        ("train: no images", "train: no images", "gave up: train: no images"),
    ],
)
def test_why_a_search_ended_early(because, cause, said):
    assert (gave_up(because), early_end(because)) == (cause, said)
