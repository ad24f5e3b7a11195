import pytest

from search_spaces import SchemaError
from search_spaces.clauses import Clause, parse_condition, parse_dependency


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (">0", [Clause(">", 0.0)]),
        ("> 0", [Clause(">", 0.0)]),
        (">0.0", [Clause(">", 0.0)]),
        ("> 0.0 <= 1.0", [Clause(">", 0.0), Clause("<=", 1.0)]),
        (">0.0<=1.0", [Clause(">", 0.0), Clause("<=", 1.0)]),
        ("> 0, < 1", [Clause(">", 0.0), Clause("<", 1.0)]),
        ("> 0 and < 1", [Clause(">", 0.0), Clause("<", 1.0)]),
        ("!= 0", [Clause("!=", 0.0)]),
        (">= 1", [Clause(">=", 1.0)]),
        ("< 1e-3", [Clause("<", 1e-3)]),
        ("> -2.5", [Clause(">", -2.5)]),
        ("^ 2", [Clause("^", 2.0)]),
        ("^2", [Clause("^", 2.0)]),
        ("/ 8", [Clause("/", 8.0)]),
        ("/8", [Clause("/", 8.0)]),
        ("", []),
    ],
)
def test_every_spelling_of_a_condition_is_understood(text, expected):
    assert list(parse_condition(text, (), "a.b")) == expected


def test_words_depends_on_stand_for_the_parents():
    assert parse_condition("> depends_on", ("x.y",), "a") == (Clause(">", None, ("x.y",)),)
    both = parse_condition("> depends_on < 1.0", ("x.y",), "a")
    assert both == (Clause(">", None, ("x.y",)), Clause("<", 1.0))


def test_division_beside_a_parent_is_a_share_of_it_and_not_a_multiple():
    assert parse_condition("/ 2", ("train.epoch",), "a") == (Clause("//", 2.0, ("train.epoch",)),)


@pytest.mark.parametrize("junk", ["positive", "> ", "=> 1", "> 1 ?", "^ 0", "^ 1.5", "/ 0", 5, "1"])
def test_junk_is_an_error_that_names_the_parameter(junk):
    with pytest.raises(SchemaError, match=r"train\.optim\.gamma: math_cond"):
        parse_condition(junk, (), "train.optim.gamma")


def test_comparison_with_a_parent_needs_a_parent():
    with pytest.raises(SchemaError, match=r"a\.b: math_cond '> depends_on' needs a parameter"):
        parse_condition("> depends_on", (), "a.b")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model.queries", (("model.queries",), "")),
        ("model.h,model.w", (("model.h", "model.w"), "")),
        ("model.h, model.w", (("model.h", "model.w"), "")),
        ("> model.queries", (("model.queries",), ">")),
        ("<=model.queries", (("model.queries",), "<=")),
        (None, ((), "")),
        ("", ((), "")),
    ],
)
def test_both_forms_of_depends_on(text, expected):
    assert parse_dependency(text, "a") == expected


@pytest.mark.parametrize("junk", [3, "a b", "> 5", ",", "a,,b"])
def test_other_forms_of_depends_on_are_errors(junk):
    with pytest.raises(SchemaError, match=r"a\.b: depends_on"):
        parse_dependency(junk, "a.b")
