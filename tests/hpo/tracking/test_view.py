"""The prepared page, unpacked as MLflow's page unpacks it."""

import base64
import json
import zlib
from dataclasses import replace

from hpo.core.trial import TrialRecord, TrialStage, TrialState
from hpo.run.run_dir import RunDir
from hpo.tracking.rows import Study
from hpo.tracking.view import comparison_path, table_path, view_id, view_tag

MAX_TAG = 20_000
"""MLflow's limit for the value of an experiment tag."""


def unpack(study, records):
    envelope = json.loads(view_tag(study, records))
    head, packed = envelope["state"].split(";")
    assert head == "deflate"
    return envelope, json.loads(zlib.decompress(base64.b64decode(packed)))


def study(tmp_path, direction="maximize"):
    run = RunDir(tmp_path / "shelf" / "20260101-000000")
    return Study(run=run, name="shelf", uuid="u-1", direction=direction, metric="p1", summary={})


def trial(number, **params):
    return TrialRecord(
        number=number, state=TrialState.COMPLETE, params=params, latents={}, until_epoch=1
    )


def test_the_view_shows_this_studys_trials_best_first(tmp_path):
    envelope, state = unpack(study(tmp_path), [trial(0, width=64)])
    assert envelope["name"] == "Trials of 20260101-000000"
    assert state["searchFilter"] == "tags.`hpo.study_uuid` = 'u-1' and tags.`hpo.role` = 'trial'"
    assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`p1_best`", False)
    assert unpack(study(tmp_path, "minimize"), [])[1]["orderByAsc"] is True


def test_columns_are_the_varying_parameters_and_the_metric(tmp_path):
    _, state = unpack(study(tmp_path), [trial(0, width=64), trial(1, depth=2)])
    columns = state["selectedColumns"]
    for name in ("metrics.`p1_best`", "metrics.`p1`", "params.`depth`", "params.`width`"):
        assert name in columns
    assert state["columnOrder"] == columns


def test_charts_compare_parameters_with_the_best_value(tmp_path):
    records = [trial(0, **{"a.lr": 1e-5, "width": 64}), trial(1, **{"a.lr": 1e-1, "width": 8})]
    _, state = unpack(study(tmp_path), records)
    charts = {chart["uuid"]: chart for chart in state["compareRunCharts"]}
    parallel = charts["all-PARALLEL-"]
    assert parallel["selectedParams"] == ["width"]
    assert parallel["selectedMetrics"] == ["a.lr log10", "p1_best"]
    assert charts["each-SCATTER-width"]["xaxis"] == {"key": "width", "type": "PARAM"}
    assert charts["each-SCATTER-a.lr log10"]["yaxis"] == {"key": "p1_best", "type": "METRIC"}
    sections = {section["uuid"] for section in state["compareRunSections"]}
    assert {chart["metricSectionId"] for chart in charts.values()} == sections


def test_parallel_coordinates_show_what_all_trials_of_the_last_stage_have(tmp_path):
    heads = TrialStage(name="heads", left=1)
    records = [
        trial(0),  # the default draws nothing
        replace(trial(1, margin=0.5, width=8), stage=heads),
        trial(2, loss="arcface", rate=2, scale=30),
        trial(3, loss="proxy", rate=4),
    ]
    _, state = unpack(study(tmp_path), records)
    charts = {chart["uuid"]: chart for chart in state["compareRunCharts"]}
    assert charts["all-PARALLEL-"]["selectedParams"] == ["loss", "rate"]
    order = [uuid for uuid in charts if uuid.startswith("each-")]
    assert order == [f"each-SCATTER-{n}" for n in ("loss", "rate", "scale", "margin", "width")]
    assert "tags.`hpo.stage`" in state["selectedColumns"]


def test_a_view_of_many_parameters_fits_into_a_tag(tmp_path):
    params = {f"train.section_{n}.some_long_parameter_name": 10.0**-n for n in range(60)}
    records = [trial(0, **params), trial(1, **dict.fromkeys(params, 1e3))]
    assert len(view_tag(study(tmp_path), records)) < MAX_TAG


def test_links_name_the_view():
    assert view_id("u-1") == "hpo-u-1"
    assert table_path("7", "u-1").startswith("/#/experiments/7/runs?")
    assert "viewStateShareKey=hpo-u-1" in table_path("7", "u-1")
    assert comparison_path("7", "u-1").endswith("&compareRunsMode=CHART")
