"""What is counted of a winner's queries."""

from hpo.report import mistakes


def test_counts_of_confusions():
    rows = [
        {"class": a, "hit": a == b, "nearest": {"class": b}}
        for a, b in ["xx", "xy", "xy", "xz", "yy", "yx"]
    ]
    assert mistakes.per_class(rows) == ({"x": 0.25, "y": 0.5}, {"x": 4, "y": 2})
    assert mistakes.confusions(rows) == [("x", "y", 2), ("x", "z", 1), ("y", "x", 1)]


def test_the_clearest_mistakes_come_first():
    rows = [
        {
            "path": f"{i}",
            "class": "x",
            "hit": False,
            "nearest": {"class": other, "distance": 0.5},
            "own": {"distance": own},
        }
        for i, (other, own) in enumerate([("y", 0.6), ("y", 1.5), ("y", 0.9), ("z", 0.7)])
    ]
    assert [row["path"] for row in mistakes.worst_misses(rows, 4)] == ["1", "2", "3"]
