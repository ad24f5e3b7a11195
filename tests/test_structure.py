"""The structure of the packages: no import circles, every module has its tests, and messages name
whole commands."""

from __future__ import annotations

import ast
import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.list_messages import texts_of

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("hpo", "trainer", "search_spaces")
TESTED_ELSEWHERE = {
    # Every registered algorithm and its parts go through one set of tests.
    "hpo/algorithms/llm_*": "tests/hpo/algorithms/test_llm_algorithms.py",
    "hpo/algorithms/{asha,auto,autoresearch,bayesian,bfbo,bohb,dehb,entry,hybrid,hyperband}": "tests/contracts/test_algorithms.py",
    "hpo/algorithms/{hyperband_es,mfbo,pbt,random_search,tpe}": "tests/contracts/test_algorithms.py",
    "hpo/algorithms/{evolution,optuna_points,population,pruners,pruning,recipes,rung_trials}": "tests/contracts/test_algorithms.py",
    "hpo/algorithms/{chooser,confidence_bound,unit_points}": "tests/hpo/algorithms/test_curve_model.py",
    # The route's steps, through the public calls that take them.
    "hpo/automl/{asking,wandb_table}": "tests/hpo/automl/test_ask_tell.py",
    "hpo/automl/{active_jobs,sdk,submission}": "tests/hpo/automl/contract/test_jobs.py",
    "hpo/automl/{artifacts,objectives}": "tests/hpo/automl/contract/test_objectives.py",
    "hpo/automl/job_values": "tests/hpo/automl/test_platform.py",
    "hpo/automl/{feedback,formatting,route_settings}": "tests/hpo/automl/contract/test_result.py",
    "hpo/automl/{script,script_schema}": "tests/hpo/automl/contract/test_actions.py",
    "hpo/automl/{plan_file,skill_context}": "tests/hpo/automl/contract/test_names.py",
    "hpo/jobs/spec_formats": "tests/hpo/automl/contract/test_actions.py",
    "hpo/automl/{data_keys,errors,evaluation,execute,finishing,hooks}": "tests/hpo/automl/test_runner.py",
    "hpo/automl/{plain_run,recommendation,workspace}": "tests/hpo/automl/test_runner.py",
    # What a verb prints is tested where a user sees it.
    "hpo/cli/completion": "tests/hpo/cli/test_reference_pages.py",
    "hpo/cli/job_views": "tests/hpo/cli/test_job.py",
    "hpo/cli/space_source": "tests/hpo/cli/test_space.py",
    "hpo/console/review_lines": "tests/hpo/console/test_console.py",
    "hpo/report/{optuna_view,parameter_charts,run_data,templates}": "tests/hpo/report/test_charts.py",
    "hpo/doctor/check": "tests/hpo/doctor/test_machine.py",
    # Small parts of one mechanism, which is tested as a whole.
    "hpo/__main__": "tests/hpo/core/process/test_extras.py",
    "hpo/core/process/entry": "tests/hpo/core/process/test_start.py",
    "hpo/core/process/signals": "tests/hpo/core/process/test_streams.py",
    "hpo/core/averager": "tests/hpo/results/test_average.py",
    "hpo/core/list_reader": "tests/hpo/searching/test_moved_data.py",
    "hpo/core/unknown_calibrator": "tests/hpo/results/test_unknowns.py",
    "hpo/core/forecast": "tests/hpo/searching/test_forecast.py",
    "hpo/core/repeats": "tests/hpo/searching/test_engine.py",
    "hpo/core/route_events": "tests/hpo/core/test_event_json.py",
    "hpo/executors/ray_worker": "tests/hpo/executors/test_ray.py",
    "hpo/run/ledger_{rows,storage}": "tests/hpo/run/test_ledger.py",
    "hpo/run/replay": "tests/hpo/searching/test_engine_replay.py",
    "hpo/searching/dry_run": "tests/hpo/cli/test_plan.py",
    "hpo/searching/engine_parts": "tests/hpo/searching/test_engine.py",
    "hpo/searching/launcher": "tests/hpo/searching/test_session.py",
    "hpo/searching/rehearsal": "tests/hpo/searching/test_forecast.py",
    "hpo/study/gone_data": "tests/hpo/searching/test_moved_data.py",
    "hpo/study/model_limits": "tests/hpo/results/test_model_costs.py",
    "hpo/study/provenance": "tests/hpo/searching/test_resume.py",
    "hpo/tracking/{listener,study_run,trial_runs,writer}": "tests/hpo/tracking/test_mirror.py",
    # Declarations of spec keys: each key is changed alone, and must show.
    "trainer/config/{actions,dataset,deviations,differences,fields,loss,model,optim,root,shorthand}": "tests/trainer/actions/test_every_leaf.py",
    "trainer/config/{train,wandb,weights}": "tests/trainer/actions/test_every_leaf.py",
    "trainer/actions/{calibration,half,scoring}": "tests/trainer/actions/test_int8.py",
    "trainer/actions/export_check": "tests/trainer/actions/test_export.py",
    "trainer/data/{cached_sets,set_store}": "tests/trainer/data/test_cache.py",
    "trainer/data/sources": "tests/trainer/data/test_lists.py",
    "trainer/doctor/{findings,pairs}": "tests/trainer/doctor/test_diagnosis.py",
    "trainer/features/identity": "tests/trainer/features/test_source.py",
    "trainer/models/weight_facts": "tests/trainer/models/test_weight_sources.py",
    "trainer/{children,rank_process}": "tests/trainer/test_distributed.py",
    "trainer/cores": "tests/hpo/core/test_control_groups.py",
    "trainer/{embedding,encoders,errors,onnx_model}": "tests/trainer/actions/test_predict.py",
    "trainer/proposals": "tests/trainer/test_retrieval.py",
    "trainer/limits": "tests/trainer/test_session.py",
    "trainer/exported_models": "tests/trainer/test_session.py",
    "trainer/{epochs,module,probing,receipt}": "tests/trainer/test_training.py",
    # The compiler's passes: what they make of a schema is judged by the space that comes out.
    "search_spaces/{assembly,choices,draft,errors,fields,notes,overlay_reading,parameter}": "tests/search_spaces/test_compilation.py",
    "search_spaces/{ranges,relations,schema,sequences}": "tests/search_spaces/test_compilation.py",
    "search_spaces/domains/base": "tests/search_spaces/domains/test_number.py",
}
"""Modules without a test file of their own name -> the file that tests them."""
LAZY_FACES = {"hpo"}
"""Packages whose `__init__` imports its public names on first use, from modules that import it."""


def modules_below(root):
    return {
        ".".join(path.with_suffix("").relative_to(root).parts).removesuffix(".__init__"): path
        for package in PACKAGES
        for path in (root / package).rglob("*.py")
    }


def imported(module, path, modules):
    """Modules that `path` imports: at its top, inside functions, and for types alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in modules else node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name in modules and name != module}


def find_circle(graph):
    """One circle as a list of names, or an empty list; depth-first with the path in hand."""
    done = set()

    def visit(name, path):
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        for other in sorted(graph[name]):
            if circle := visit(other, [*path, name]):
                return circle
        done.add(name)
        return []

    for name in sorted(graph):
        if circle := visit(name, []):
            return circle
    return []


def graph_below(root):
    modules = modules_below(root)
    return {
        name: imported(name, path, modules) if name not in LAZY_FACES else set()
        for name, path in modules.items()
    }


def test_no_module_imports_itself_through_others():
    graph = graph_below(ROOT)
    assert len(graph) > 300
    assert find_circle(graph) == []


@pytest.mark.parametrize(
    "text",
    [
        "import hpo.b\n",
        "def f():\n    import hpo.b\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from hpo.b import B\n",
    ],
)
def test_a_circle_is_found_at_the_top_inside_functions_and_among_types(tmp_path, text):
    package = tmp_path / "hpo"
    package.mkdir()
    (package / "a.py").write_text(text)
    (package / "b.py").write_text("from hpo import c\n")
    (package / "c.py").write_text("from hpo.a import f\n")
    assert find_circle(graph_below(tmp_path)) == ["hpo.a", "hpo.b", "hpo.c", "hpo.a"]


def spelt_out(pattern):
    """Paths of a pattern with names in braces."""
    head, brace, rest = pattern.partition("{")
    names, _, tail = rest.partition("}")
    return [f"{head}{name}{tail}" for name in names.split(",")] if brace else [pattern]


def without_own_tests():
    """Modules for which there is no test file of the same name, also with a word more behind it."""
    paths = [path.relative_to(ROOT) for path in modules_below(ROOT).values()]
    return {
        path.with_suffix("").as_posix()
        for path in paths
        if path.stem != "__init__"
        and not (ROOT / "tests" / path.parent / f"test_{path.stem}.py").is_file()
        and not list((ROOT / "tests" / path.parent).glob(f"test_{path.stem}_*.py"))
    }


def test_every_module_has_its_tests_or_is_named_with_the_file_that_tests_it():
    named = [path for pattern in TESTED_ELSEWHERE for path in spelt_out(pattern)]
    alone = without_own_tests()
    assert sorted(m for m in alone if not any(fnmatch(m, path) for path in named)) == []
    assert [path for path in named if not any(fnmatch(m, path) for m in alone)] == []
    assert [file for file in TESTED_ELSEWHERE.values() if not (ROOT / file).is_file()] == []


def test_slow_tests_are_tests():
    """A test that was renamed since would be taken for a fast one."""
    defined = {
        f"{path.relative_to(ROOT).as_posix()}::{name}"
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^ *def (\w+)\(", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    listed = (ROOT / "tests" / "slow_tests.txt").read_text(encoding="utf-8").splitlines()
    assert [name for name in listed if name.partition("[")[0] not in defined] == []


VERBS = "best|export|gallery|logs|predict|report|resume|serve|status|stop|ui|why"
OF_NO_RUN = {
    ("hpo/cli/gallery.py", "predict"),  # help: what a flag is for
    ("hpo/cli/stop.py", "stop"),  # who hears it
    ("hpo/core/budget.py", "resume"),  # of a new search
    ("hpo/serving/app.py", "serve"),  # where the token was printed
    ("hpo/study/owned_keys.py", "resume"),  # of a study
    ("hpo/study/trainers.py", "gallery"),  # which verb asks it of a trainer
}
"""Messages that name a verb without a run, as they are about none."""


def test_messages_name_the_run_of_a_command():
    """A command without RUN, copied from a message about one run, acts on the newest."""
    found = set()
    for file in sorted((ROOT / "hpo").rglob("*.py")):
        text = file.read_text()
        if not re.search(rf"hpo ({VERBS})\b", text):
            continue
        name = str(file.relative_to(ROOT))
        for _, told in texts_of(ast.parse(text)):
            assert "hpo resume {" not in told, f"{name}: compose it by hpo.run.next_commands"
            if "\n" not in told:  # help with examples
                alone = re.findall(rf"hpo ({VERBS})\b(?! (?:[{{\[]|[A-Z]))", told)
                found |= {(name, verb) for verb in alone}
    assert found == OF_NO_RUN
