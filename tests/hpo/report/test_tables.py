import csv

from hpo.report.tables import confusion_matrix, write_tables


def query(name, own, found, distance, own_distance):
    near = {
        "path": f"/g/{found}.png",
        "file": f"g/{found}.png",
        "class": found,
        "distance": distance,
    }
    return {
        "path": f"/cache/{name}", "file": f"mine/{name}", "class": own, "hit": own == found,
        "nearest": near, "own": {"path": "/g/own.png", "distance": own_distance},
    }  # fmt: skip


QUERIES = [
    query("a.png", "ale", "bun", 0.3, 0.4),
    query("b.png", "ale", "ale", 0.1, 0.1),
    query("c.png", "bun", "cod, salted", 0.2, 0.9),
    query("d.png", "ale", "bun", 0.3, 0.31),
]


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_mistakes_suspects_and_confusions_are_tables(tmp_path):
    suspects = [
        {"path": "/x/e.png", "class": "ale", "says": "bun", "role": "gallery", "margin": 0.25}
    ]
    write_tables({"queries": QUERIES, "suspects": suspects}, tmp_path)
    mistakes = rows_of(tmp_path / "mistakes.csv")
    assert [row["picture"] for row in mistakes] == ["mine/c.png", "mine/a.png", "mine/d.png"]
    assert mistakes[0] == {
        "picture": "mine/c.png", "class": "bun", "taken_for": "cod, salted",
        "nearest": "g/cod, salted.png", "distance": "0.200000", "own_nearest": "/g/own.png",
        "own_distance": "0.900000",
    }  # fmt: skip
    assert rows_of(tmp_path / "suspect_labels.csv") == [
        {
            "picture": "/x/e.png",
            "class": "ale",
            "looks_like": "bun",
            "role": "gallery",
            "margin": "0.250000",
        }
    ]
    assert (tmp_path / "confusion.csv").read_text() == (
        'class,nearest_class,queries\nale,ale,1\nale,bun,2\nbun,"cod, salted",1\n'
    )


def test_the_matrix_counts_every_query_once():
    names, counts, total = confusion_matrix(QUERIES, 3)
    assert names == ["ale", "bun", "cod, salted"]
    assert counts == [[1, 2, 0], [0, 0, 1], [0, 0, 0]]
    assert total == 3


def test_a_matrix_of_many_classes_has_those_of_most_mistakes(tmp_path):
    """Stanford Online Products has 11,000 classes: their square is 121 million cells."""
    right = [query(f"{i}.png", f"{i:05}", f"{i:05}", 0.1, 0.1) for i in range(11_000)]
    wrong = [query("x.png", "07000", "09000", 0.1, 0.2), query("y.png", "09000", "00001", 0.1, 0.2)]
    names, counts, total = confusion_matrix([*right, *wrong], 3)
    assert (names, total) == (["00001", "07000", "09000"], 11_000)
    assert counts == [[1, 0, 0], [0, 1, 1], [1, 0, 1]]
    write_tables({"queries": [*right, *wrong], "suspects": []}, tmp_path)
    assert len(rows_of(tmp_path / "confusion.csv")) == 11_002
