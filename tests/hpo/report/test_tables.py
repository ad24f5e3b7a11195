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
    counts = {row.pop("class"): row for row in rows_of(tmp_path / "confusion.csv")}
    assert counts["ale"] == {"ale": "1", "bun": "2", "cod, salted": "0"}
    assert counts["cod, salted"] == {"ale": "0", "bun": "0", "cod, salted": "0"}


def test_the_matrix_counts_every_query_once():
    names, counts = confusion_matrix(QUERIES)
    assert names == ["ale", "bun", "cod, salted"]
    assert counts == [[1, 2, 0], [0, 0, 1], [0, 0, 0]]
