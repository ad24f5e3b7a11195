import csv
import json
from pathlib import Path

import pytest

from trainer.actions.inference import infer
from trainer.errors import DataError, SpecError
from trainer.spec import parse_spec


def run(trained, folder, **changes):
    changes = {
        "inference__checkpoint": str(trained.checkpoint),
        "inference__input_path": trained.splits["query"],
    } | changes
    return infer(parse_spec(trained.spec(folder, **changes), "inference"))


def one_picture(trained):
    return sorted(Path(trained.splits["query"]).rglob("*.png"))[0]


@pytest.mark.parametrize(
    ("kind", "pick", "count"),
    [
        ("image", lambda path: path, 1),
        ("image_folder", lambda path: path.parent, 3),
        ("classification_folder", lambda path: path.parent.parent, 18),
    ],
)
def test_the_three_kinds_of_input(trained, tmp_path, kind, pick, count):
    result = run(
        trained, tmp_path, inference__inference_input_type=kind, inference__topk=2,
        inference__input_path=str(pick(one_picture(trained))), inference__batch_size=4,
    )  # fmt: skip
    rows = json.loads(Path(result["results"]).read_text())
    assert result["num_images"] == len(rows) == count
    with Path(result["table"]).open() as file:
        table = list(csv.reader(file))
    assert table[0] == ["path", "labels", "distances"]
    assert [line[0] for line in table[1:]] == [row["image"] for row in rows]
    assert json.loads(table[1][1]) == rows[0]["labels"]
    assert len(rows[0]["labels"]) == 2
    if kind == "classification_folder":
        right = [row["labels"][0] == Path(row["image"]).parent.name for row in rows]
        assert result["accuracy"] == sum(right) / len(right)


def test_the_gallery_is_kept_and_used_again_until_something_changes(trained, tmp_path):
    first, second = run(trained, tmp_path), run(trained, tmp_path)
    assert (first["gallery_reused"], second["gallery_reused"]) == (False, True)
    again = run(trained, tmp_path, dataset__val_dataset__reference=trained.splits["train"])
    assert again["gallery_reused"] is False


def test_bad_input_is_one_line(trained, tmp_path):
    with pytest.raises(SpecError, match=r"inference\.topk: must be at most the 12"):
        run(trained, tmp_path, inference__topk=13)
    with pytest.raises(DataError, match="must be a picture"):
        run(
            trained, tmp_path, inference__inference_input_type="image",
            inference__input_path=trained.splits["query"],
        )  # fmt: skip
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no picture in"):
        run(
            trained, tmp_path, inference__inference_input_type="image_folder",
            inference__input_path=str(tmp_path / "empty"),
        )  # fmt: skip
