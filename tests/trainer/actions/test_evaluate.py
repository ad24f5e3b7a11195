import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_mutual_info_score

from trainer import metrics
from trainer.actions.evaluate import evaluate, score
from trainer.encoders import ModelFile, as_trained, load_encoder, trained_classes
from trainer.errors import CheckpointError, InfrastructureError, SpecError
from trainer.gallery import build_gallery
from trainer.session import TRAINER
from trainer.spec import parse_spec

CPU = torch.device("cpu")


def run(trained, folder, **changes):
    changes = {"evaluate__checkpoint": str(trained.checkpoint)} | changes
    return evaluate(parse_spec(trained.spec(folder, **changes), "evaluate"))


def test_metrics_agree_with_training_and_with_the_hits(trained, tmp_path):
    result = run(trained, tmp_path, evaluate__topk=3)
    metrics, hits = result["metrics"], np.array(result["hits"])
    assert metrics["val_precision_at_1"] == pytest.approx(trained.last_value)
    assert metrics["val_precision_at_1_query_mean"] == pytest.approx(hits.mean())
    classes = np.array(result["query_classes"])
    means = {name: hits[classes == name].mean() for name in set(result["query_classes"])}
    assert result["per_class"] == pytest.approx(means)
    assert metrics["val_precision_at_1_class_mean"] == pytest.approx(np.mean(list(means.values())))
    assert metrics["val_hit_at_3"] >= metrics["val_precision_at_1_query_mean"]
    assert metrics["val_mrr"] >= metrics["val_precision_at_1_query_mean"]
    assert (result["num_queries"], result["num_reference"], result["num_classes"]) == (18, 12, 6)
    assert result["clustered"] == {"num_queries": 18, "num_classes": 6}
    assert 0 <= metrics["val_ami"] <= metrics["val_nmi"] <= 1
    written = json.loads(Path(result["results"]).read_text())
    assert written["metrics"] == metrics
    line = json.loads((Path(result["results"]).parent / "status.json").read_text())
    assert line["status"] == "SUCCESS"
    assert line["kpi"] == {"test Precision at Rank 1": pytest.approx(trained.last_value)}
    assert result["kpi"] == line["kpi"]


def test_the_query_mean_is_monitored_when_asked(trained, tmp_path):
    result = run(trained, tmp_path, evaluate__report_accuracy_per_class=False)
    metrics = result["metrics"]
    assert metrics["val_precision_at_1"] == metrics["val_precision_at_1_query_mean"]
    assert result["per_class"] == {}


def test_an_evaluation_for_a_search_is_of_the_mean_that_training_monitors(trained, tmp_path):
    query = tmp_path / "query"
    for number, folder in enumerate(sorted(Path(trained.splits["query"]).iterdir())):
        (query / folder.name).mkdir(parents=True)
        for picture in sorted(folder.iterdir())[: 1 + number % 3]:
            (query / folder.name / picture.name).symlink_to(picture)
    for over_classes in (True, False):
        spec = trained.spec(
            tmp_path, dataset__val_dataset__query=str(query),
            evaluate__checkpoint=str(trained.checkpoint),
            train__report_accuracy_per_class=over_classes,
            evaluate__report_accuracy_per_class=not over_classes,
        )  # fmt: skip
        metrics = TRAINER.evaluate(spec)["metrics"]
        query_mean, class_mean = (
            metrics[f"val_precision_at_1_{of}_mean"] for of in ("query", "class")
        )
        assert query_mean != class_mean
        assert not {"val_nmi", "val_ami"} & set(metrics)  # two queries of a class on average
        assert metrics["val_precision_at_1"] == (class_mean if over_classes else query_mean)


def test_an_onnx_file_gives_the_same_as_its_checkpoint(trained, exported, tmp_path):
    plain = run(trained, tmp_path / "a")
    other = run(trained, tmp_path / "b", evaluate__checkpoint=str(exported / "model.onnx"))
    assert other["hits"] == plain["hits"]
    assert other["metrics"] == pytest.approx(plain["metrics"])


def test_weights_without_a_spec_are_evaluated_too(trained, tmp_path):
    state = torch.load(trained.checkpoint, weights_only=True)["state_dict"]
    torch.save(state, tmp_path / "weights.pth")
    result = run(trained, tmp_path, evaluate__checkpoint=str(tmp_path / "weights.pth"))
    assert result["metrics"]["val_precision_at_1"] == pytest.approx(trained.last_value)


def test_a_spec_of_another_model_is_refused_with_the_right_values(trained, tmp_path):
    with pytest.raises(
        SpecError, match=r"model\.backbone must be timm/test_resnet, got timm/resnet18"
    ):
        run(trained, tmp_path, model__backbone="timm/resnet18")
    with pytest.raises(SpecError, match=r"dataset\.pixel_std must be \[0\.226, 0\.226, 0\.226\]"):
        run(trained, tmp_path, dataset__pixel_std=[0.5, 0.5, 0.5])


def test_bad_input_is_one_line(trained, exported, tmp_path):
    with pytest.raises(SpecError, match=r"evaluate\.topk: must be at most the 12"):
        run(trained, tmp_path, evaluate__topk=13)
    with pytest.raises(CheckpointError, match=r"gone\.ckpt: no such file"):
        run(trained, tmp_path, evaluate__checkpoint=str(tmp_path / "gone.ckpt"))
    onnx = str(exported / "model.onnx")
    with pytest.raises(SpecError, match=r"model\.input_height must be 32, got 64"):
        run(trained, tmp_path, evaluate__checkpoint=onnx, model__input_height=64)


@pytest.mark.parametrize("suffix", [".ckpt", ".onnx", ".engine"])
def test_a_file_is_read_once_for_all_that_is_asked_of_it(trained, exported, tmp_path, suffix):
    path = tmp_path / f"model{suffix}"
    shutil.copyfile(trained.checkpoint if suffix == ".ckpt" else exported / "model.onnx", path)
    spec = parse_spec(trained.spec(tmp_path), "export", is_complete=False)
    file = ModelFile(path)
    assert len(trained_classes(file)) == 6
    path.write_bytes(b"another")
    emb_ND = load_encoder(file, as_trained(file, spec), CPU)([torch.zeros(2, 3, 32, 32)])
    whole = load_encoder(trained.checkpoint, spec, CPU)([torch.zeros(2, 3, 32, 32)])
    assert emb_ND == pytest.approx(whole, abs=1e-5)
    with pytest.raises((CheckpointError, InfrastructureError)):
        load_encoder(path, spec, CPU)


@pytest.mark.parametrize("matching", ["nearest", "prototypes"])
@pytest.mark.parametrize("topk", [1, 5])
def test_every_rank_counts_however_far_and_many_classes_are_clustered_in_part(
    tmp_path, monkeypatch, trained, matching, topk
):
    monkeypatch.setattr(metrics, "MOST_CLUSTERED", 2000)
    rng = np.random.default_rng(7)
    centres = rng.normal(size=(30, 6))
    labels, own = rng.integers(0, 29, 120), rng.integers(0, 30, 140)  # some have no entry
    labels[:29] = np.arange(29)
    emb, query = (centres[c] + rng.normal(size=(len(c), 6)) for c in (labels, own))
    names = tuple(f"c{i:02d}" for i in range(30))
    paths = [Path(f"/p/{names[label]}/{i}.png") for i, label in enumerate(labels)]
    gallery = build_gallery(emb, labels, names, paths, matching)
    spec = parse_spec(
        trained.spec(tmp_path, evaluate__checkpoint="x.ckpt", evaluate__topk=topk), "evaluate"
    )
    found = score(spec, gallery, query, own)
    unit = lambda rows: rows / np.linalg.norm(rows, axis=1, keepdims=True)  # noqa: E731
    entries, classes = unit(emb), labels
    if matching == "prototypes":
        classes = np.arange(29)
        entries = unit(np.stack([entries[labels == c].mean(axis=0) for c in classes]))
    reciprocal = []
    for row, label in zip(unit(query), own, strict=True):
        ranking = classes[np.argsort(((entries - row) ** 2).sum(axis=1))].tolist()
        reciprocal.append(1 / (ranking.index(label) + 1) if label in ranking else 0.0)
    assert min(r for r in reciprocal if r) < 1 / topk
    assert found["metrics"]["val_mrr"] == pytest.approx(np.mean(reciprocal))
    part = np.isin(own, own[metrics.clustered_rows(own)])
    count = len(set(own[part]))
    assert found["clustered"] == {"num_queries": part.sum(), "num_classes": count}
    assert 10 < count < 29
    clusters = KMeans(count, n_init=1, random_state=0).fit_predict(
        unit(query[part]).astype(np.float32)
    )
    assert found["metrics"]["val_ami"] == pytest.approx(
        adjusted_mutual_info_score(own[part], clusters)
    )
