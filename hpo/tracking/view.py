"""The prepared page: a saved view of MLflow's runs page for comparing the trials of one study.

MLflow keeps saved views as experiment tags; they appear in the page's menu `Views`, and a link can
name one. The state inside is that of the page: filter, columns, charts.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from hpo.core.trial import TrialRecord
from hpo.tracking import rows

if TYPE_CHECKING:
    from hpo.tracking.writer import Study

VIEW_TAG = "mlflow.sharedViewState."
MAX_SCATTERS = 12
"""Charts of one parameter each; more would bury the rest of the page."""
SHOWN_RUNS = 200


def view_id(study_uuid: str) -> str:
    """The name of a study's view in links and tags."""
    return f"hpo-{study_uuid}"


def table_path(experiment_id: str, study_uuid: str) -> str:
    """The part of a link after the server's address that opens the prepared table of trials."""
    query = urlencode({"viewStateShareKey": view_id(study_uuid)})
    return f"/#/experiments/{experiment_id}/runs?{query}"


def comparison_path(experiment_id: str, study_uuid: str) -> str:
    """The part of a link after the server's address that opens the prepared charts."""
    query = urlencode({"viewStateShareKey": view_id(study_uuid), "compareRunsMode": "CHART"})
    return f"/#/experiments/{experiment_id}/runs?{query}"


def view_tag(study: Study, records: Iterable[TrialRecord]) -> str:
    """The value of the experiment tag; the same study and parameters give the same text."""
    names = sorted({name for record in records for name in record.params})
    state = json.dumps(_state(study, names), separators=(",", ":"))
    packed = base64.b64encode(zlib.compress(state.encode(), 9)).decode()
    created = 0
    stamp = study.run.path.name
    return json.dumps(
        {"name": f"Trials of {stamp}", "createdAt": created, "state": f"deflate;{packed}"}
    )


def _state(study: Study, params: list[str]) -> dict[str, Any]:
    best = f"{study.metric}_best"
    columns = [
        *(f"metrics.`{name}`" for name in (best, study.metric, "epochs", "seconds")),
        *(f"tags.`{name}`" for name in (rows.STATE_TAG, "hpo.purpose", rows.WINNER_TAG)),
        *(f"params.`{name}`" for name in params),
        *(f"tags.`{name}`" for name in ("hpo.reason", "hpo.error")),
    ]
    return {
        "searchFilter": rows.query(study.uuid, rows.TRIAL_ROLE),
        "orderByKey": f"metrics.`{best}`",
        "orderByAsc": study.direction != "maximize",
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": columns,
        "columnOrder": columns,
        "columnWidths": {},
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
        **_charts(study.metric, params),
    }


def _charts(metric: str, params: list[str]) -> dict[str, Any]:
    best = f"{metric}_best"
    charts = [
        _chart(
            "PARALLEL",
            "compare",
            "Parameters and best value",
            selectedParams=params,
            selectedMetrics=[best],
            showAllRuns=True,
        ),
        _chart("BAR", "compare", "Best value", metricKey=best),
        _chart(
            "LINE",
            "compare",
            "Learning curves",
            metricKey=metric,
            selectedMetricKeys=[metric],
            useGlobalXaxisKey=True,
        ),
        *(
            _chart(
                "SCATTER",
                "each",
                name,
                xaxis={"key": name, "type": "PARAM"},
                yaxis={"key": best, "type": "METRIC"},
            )
            for name in params[:MAX_SCATTERS]
        ),
    ]
    titles = {"compare": "Trials compared", "each": "Each parameter against the best value"}
    sections = [
        {
            "uuid": key,
            "name": title,
            "display": True,
            "isReordered": True,
            "deleted": False,
            "isGenerated": False,
        }
        for key, title in titles.items()
    ]
    return {
        "compareRunCharts": charts,
        "compareRunSections": sections,
        "isAccordionReordered": True,
    }


def _chart(kind: str, section: str, title: str, **options: Any) -> dict[str, Any]:
    return {
        "uuid": f"{section}-{kind}-{title}",
        "type": kind,
        "displayName": title,
        "metricSectionId": section,
        "runsCountToCompare": SHOWN_RUNS,
        "deleted": False,
        "isGenerated": False,
        **options,
    }
