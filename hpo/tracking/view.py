"""Builds the saved view of MLflow's runs page that compares a study's trials.

MLflow keeps saved views as experiment tags; they appear in the page's menu `Views`, and a link can
name one. The state inside is that of the page: filter, columns, charts.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from hpo.core.trial import Direction, TrialRecord
from hpo.tracking import rows
from hpo.tracking.rows import Study

_TRAINING_PAGES = {"workflowType": "machine_learning"}
"""Part of a link; otherwise MLflow shows its menus for language models."""
VIEW_TAG = "mlflow.sharedViewState."
_MAX_SCATTERS = 12
"""Charts of one parameter each; more would bury the rest of the page."""
_SHOWN_RUNS = 200


def view_id(study_uuid: str) -> str:
    """The name of a study's view in links and tags."""
    return f"hpo-{study_uuid}"


def experiment_path(experiment_id: str) -> str:
    """The part of a link after the server's address that opens all runs of an experiment."""
    return f"/#/experiments/{experiment_id}/runs?{urlencode(_TRAINING_PAGES)}"


def table_path(experiment_id: str, study_uuid: str) -> str:
    """The part of a link after the server's address that opens the prepared table of trials."""
    query = urlencode({**_TRAINING_PAGES, "viewStateShareKey": view_id(study_uuid)})
    return f"/#/experiments/{experiment_id}/runs?{query}"


def comparison_path(experiment_id: str, study_uuid: str) -> str:
    """The part of a link after the server's address that opens the prepared charts."""
    return f"{table_path(experiment_id, study_uuid)}&compareRunsMode=CHART"


def run_path(experiment_id: str, run_id: str) -> str:
    """The part of a link after the server's address that opens one run."""
    return f"/#/experiments/{experiment_id}/runs/{run_id}?{urlencode(_TRAINING_PAGES)}"


def view_tag(study: Study, records: list[TrialRecord]) -> str:
    """The value of the experiment tag; the same study and parameters give the same text."""
    names = sorted({name for record in records for name in record.params})
    last = [set(record.params) for record in records if record.params and not record.stage.left]
    shared = set.intersection(*last) if last else set()
    # A chart of parallel coordinates leaves out every run that lacks one of its parameters.
    first = [name for name in names if name in shared] or names
    others = [name for name in names if name not in first]  # by name, then those of earlier stages
    others.sort(key=lambda name: not any(name in own for own in last))
    logarithmic = rows.log_axes(records)
    state = {**_table(study, names), **_charts(study.metric, first, others, logarithmic)}
    packed = zlib.compress(json.dumps(state, separators=(",", ":")).encode(), 9)
    return json.dumps(
        {
            "name": f"Trials of {study.run.home.name}",
            "createdAt": 0,
            "state": f"deflate;{base64.b64encode(packed).decode()}",
        }
    )


def _table(study: Study, params: list[str]) -> dict[str, Any]:
    """Which runs are shown, in which order, with which columns."""
    best = f"{study.metric}_best"
    widths = {
        f"tags.`{rows.STATE_TAG}`": 110,
        f"tags.`{rows.WINNER_TAG}`": 130,
        f"tags.`{rows.STAGE_TAG}`": 90,
        f"metrics.`{best}`": 190,
        f"metrics.`{study.metric}`": 170,
        "metrics.`epochs`": 80,
        "metrics.`seconds`": 110,
        **{f"params.`{rows.legal_name(name)}`": 60 + 8 * len(name) for name in params},
        f"tags.`{rows.REASON_TAG}`": 300,
        "tags.`hpo.error`": 300,
    }
    return {
        "searchFilter": rows.query(study.uuid, rows.TRIAL_ROLE),
        "orderByKey": f"metrics.`{best}`",
        "orderByAsc": study.direction != Direction.MAXIMIZE,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": list(widths),
        "columnOrder": list(widths),
        "columnWidths": widths,
        "runsExpanded": {},
        "runsPinned": [],
        "runsHidden": [],
        "runsVisibilityMap": {},
        "runsHiddenMode": "SHOW_ALL",
        "viewMaximized": False,
        "runListHidden": False,
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "groupBy": None,
        "groupsExpanded": {},
        "autoRefreshEnabled": True,
        "globalLineChartConfig": {
            "xAxisKey": "step",
            "lineSmoothness": 0,
            "selectedXAxisMetricKey": "",
        },
    }


def _charts(
    metric: str, shared: list[str], others: list[str], logarithmic: Mapping[str, str]
) -> dict[str, Any]:
    """Parallel coordinates of shared parameters, best values, curves, each parameter by itself."""
    best = f"{metric}_best"
    axes = [_axis(name, logarithmic) for name in [*shared, *others]]
    common = axes[: len(shared)]
    of_kind = {
        kind: [a["key"] for a in common if a["type"] == kind] for kind in ("PARAM", "METRIC")
    }
    charts = [
        _chart(
            "PARALLEL",
            "all",
            selectedParams=of_kind["PARAM"],
            selectedMetrics=[*of_kind["METRIC"], best],
            showAllRuns=True,
        ),
        _chart("BAR", "values", metricKey=best),
        _chart(
            "LINE",
            "values",
            metricKey=metric,
            selectedMetricKeys=[metric],
            lineSmoothness=0,
            useGlobalLineSmoothing=False,
            xAxisKey="step",
        ),
    ]
    for axis in axes[:_MAX_SCATTERS]:
        place = {"xaxis": axis, "yaxis": {"key": best, "type": "METRIC"}}
        charts.append(_chart("SCATTER", "each", axis["key"], **place))
    return {
        "compareRunCharts": charts,
        "compareRunSections": [
            _section("all", "Parameters and best value", columns=1, cardHeight=460),
            _section("values", "Best values and learning curves", columns=2, cardHeight=420),
            _section("each", "Each parameter against the best value", columns=3, cardHeight=360),
        ],
        "isAccordionReordered": True,
    }


def _axis(name: str, logarithmic: Mapping[str, str]) -> dict[str, str]:
    if name in logarithmic:
        return {"key": logarithmic[name], "type": "METRIC"}
    return {"key": rows.legal_name(name), "type": "PARAM"}


def _section(key: str, name: str, **layout: int) -> dict[str, Any]:
    head = {"uuid": key, "name": name, "display": True}
    return {**head, "isReordered": True, "deleted": False, "isGenerated": False, **layout}


def _chart(kind: str, section: str, name: str = "", **options: Any) -> dict[str, Any]:
    return {
        "uuid": f"{section}-{kind}-{name}",
        "type": kind,
        "metricSectionId": section,
        "runsCountToCompare": _SHOWN_RUNS,
        "deleted": False,
        "isGenerated": False,
        **options,
    }
