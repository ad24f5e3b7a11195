"""The published package's tests of public names, and the test here that stands for each.

Where this project differs deliberately (docs/automl.md) its own way is what is asserted.
"""

import ast
from pathlib import Path

import pytest

COUNTERPARTS = {
    # Types and results.
    "dict_style_callback_semantics": "test_26_a_recommendation_is_a_mapping_of_its_values",
    "attribute_style_access_unchanged": "test_27_its_attributes",
    "format_result_golden": "test_24_a_made_up_result_as_text",
    "import_top_level": "test_1_top_level_names",
    "import_types": "test_2_states_and_recommendations",
    "recommendation_create": "test_2_states_and_recommendations",
    "recommendation_update": "test_2_states_and_recommendations",
    "recommendation_type_checks": "test_2_identifier_and_specs_are_checked",
    "automl_context": "test_2_states_and_recommendations",
    "version": "test_1_the_version_is_that_of_this_project",
    "recommendation_result_rejects_bool_and_non_scalar_values": "test_2_what_is_no_number_is_no_result",
    "recommendation_result_rejects_nonfinite_values": "test_2_what_is_not_finite_is_no_result",
    "recommendation_result_rejects_integer_too_large_for_float": "test_2_what_is_not_finite_is_no_result",
    "recommendation_result_accepts_finite_numpy_scalars": "test_2_states_and_recommendations",
    "recommendation_result_refreshes_primary_objective_value": "test_2_states_and_recommendations",
    "recommendation_objectives_normalize_numpy_values": "test_numpy_values_of_objectives_become_plain_ones",
    "metric_extractor_error_is_runtime_error": "test_3_the_error_of_the_extractor",
    # Skill folder and runner; those of `SkillContext` are nine there.
    "run_rejects_unknown_settings_before_any_submission": "test_8_a_misspelt_setting_is_refused_before_any_job",
    "skill_context_*": "test_6_the_runtime_is_validated",
    "skill_context_* of scripts": "test_34_a_wrong_script_is_named_at_construction",
    "python_script_run_rejects_invalid_merged_spec_override": "test_30_a_scripts_spec_is_checked_against_its_schema",
    "runtime_python_execution_override_requires_external_schema": "test_execution_without_a_schema_is_refused",
    "external_schema_defaults_are_used_when_template_is_absent": "test_6_the_runtime_is_validated",
    "validate_skill_runtime_probes_schema_import_path": "test_6_the_runtime_is_validated",
    "retention_preflight_propagates_unsupported_route_before_launch": "test_66_retention_is_validated_before_the_first_job",
    "import_and_construction_do_not_install_signal_handlers": "test_3_importing_installs_no_signal_handlers",
    "execution_parameter_is_appended_after_existing_positional_callbacks": "test_75_run_by_position",
    "python_script_action_does_not_resolve_unused_container_image": "test_33_an_image_beside_a_script_is_refused_and_execution_wins",
    # Ask and tell.
    "automl_rejects_empty_external_search_space": "test_54_55_56_ask_and_tell_over_a_bare_schema",
    "hyperband_two_two_one_stop_compare_resume_flow": "test_the_better_trial_of_a_rung_goes_on_from_its_own_job",
    "max_recommendation_algorithms_select_best": "test_the_best_of_so_many_recommendations",
    "budgeted_algorithms_emit_stop_compare_resume_budgets": "test_the_better_trial_of_a_rung_goes_on_from_its_own_job",
    "budgeted_algorithms_pick_best_at_largest_budget": "test_the_better_trial_of_a_rung_goes_on_from_its_own_job",
    "asha_all_failed_first_rung_completes_without_hanging": "test_a_rung_whose_trials_have_all_failed_ends_the_search",
    "hyperband_es_uses_metric_direction_for_promotion": "test_the_better_trial_of_a_rung_goes_on_from_its_own_job",
    "pbt_two_generation_budget_and_resume_flow": "test_a_population_goes_on_from_its_members",
}  # fmt: skip
"""Published test -> the test of this folder that stands for it; `pip_show` is not this project's."""
BUDGETS = {"automl_max_epochs": 2, "automl_reduction_factor": 2, "epoch_multiplier": 1}


def test_every_counterpart_is_a_test():
    files = Path(__file__).parent.glob("test_*.py")
    defined = {
        getattr(node, "name", "") for file in files for node in ast.parse(file.read_text()).body
    }
    assert sorted(set(COUNTERPARTS.values()) - defined) == []


@pytest.fixture
def asking(folder, tmp_path):
    """Search the pretended skill, its loss to be minimized, by asking and telling."""
    from tao_automl import AutoML

    def make(algorithm, **settings):
        return AutoML(
            tmp_path / "ws", str(folder), {},
            {"algorithm": algorithm, "metric": "val/avg_loss"} | settings,
        )  # fmt: skip

    return make


def drain(automl, value_of):
    """Tell the value of every recommendation; returns them in order."""
    found = []
    while not automl.is_complete():
        for rec in automl.next_recommendation():
            rec.assign_job_id(f"job-{rec.id}")
            found.append(rec)
            value = value_of(rec)
            automl.report_result(rec.id, value, status="failure" if value is None else "success")
    automl.finish()
    return found


def test_numpy_values_of_objectives_become_plain_ones():
    import numpy as np
    from tao_automl.types import Recommendation

    rec = Recommendation(0, {}, "acc")
    rec.update_objectives({"acc": np.float32(0.5), "latency": np.int64(7)}, np.float64(0.25))
    assert {type(value) for value in [*rec.objective_values.values(), rec.result]} == {float}


def test_execution_without_a_schema_is_refused(folder, tmp_path):
    from tao_automl.runner import AutoMLRunner

    from tests.hpo.automl.contract.pretended import Scripts

    (folder / "schemas/train.schema.json").unlink()
    (folder / "run.py").write_text("")
    sdk = Scripts()
    with pytest.raises(FileNotFoundError, match="train.schema.json"):
        AutoMLRunner(sdk, folder).run(
            automl_settings={"algorithm": "random"}, workspace_path=tmp_path / "ws",
            execution={"type": "python_script", "script": "run.py"},
        )  # fmt: skip
    assert sdk.jobs == []


@pytest.mark.parametrize("algorithm", ["bayesian", "bfbo"])
def test_the_best_of_so_many_recommendations(asking, algorithm):
    automl = asking(algorithm, automl_max_recommendations=2)
    recs = drain(automl, lambda rec: 0.9 - rec.id / 2)
    assert [rec.id for rec in recs] == [0, 1]
    assert recs[0].specs == {"train.lr": 0.01}, "the default configuration, where theirs is random"
    assert (automl.get_best().id, automl.get_best().result) == (1, 0.4)


@pytest.mark.parametrize("algorithm", ["hyperband", "bohb", "dehb", "hyperband_es", "asha"])
def test_the_better_trial_of_a_rung_goes_on_from_its_own_job(asking, algorithm):
    """A loss: the smaller value is promoted, and the best is one that was trained in full.

    A rung is a recommendation of its own, and trials that are trained in full at once (brackets
    without an early rung) are there as well, where the published package has neither.
    """
    more = {"automl_max_trials": 6, "automl_min_top_configs": 1} if algorithm == "asha" else {}
    automl = asking(algorithm, **BUDGETS, **more)
    recs = drain(automl, lambda rec: 0.9 - rec.id / 20 if rec.early_stop_epoch == 1 else 0.95)
    by_job = {rec.job_id: rec for rec in recs}
    short = [rec for rec in recs if rec.early_stop_epoch == 1]
    promoted = [rec for rec in recs if rec.resume_from_job_id]
    assert promoted
    for rec in promoted:
        source = by_job[rec.resume_from_job_id]
        assert source.early_stop_epoch == 1
        assert (rec.early_stop_epoch, rec.specs["train.num_epochs"]) == (2, 2)
        assert rec.specs["train.lr"] == source.specs["train.lr"]
        others = [other.id for other in short if other.id < rec.id]
        assert source.id >= sorted(others)[len(others) // 2], "one of the better half of its rung"
    best = automl.get_best()
    assert (best.early_stop_epoch, best.result) == (2, 0.95), "not the 0.9 and less of one epoch"


def test_a_rung_whose_trials_have_all_failed_ends_the_search(asking):
    automl = asking("asha", **BUDGETS, automl_max_trials=4, automl_min_top_configs=1)
    recs = drain(automl, lambda rec: None)
    assert automl.get_best() is None
    assert 1 <= len(recs) <= 4
    assert automl.get_progress()["failed"] == len(recs)


def test_a_population_goes_on_from_its_members(asking):
    automl = asking(
        "pbt", automl_max_epochs=4, automl_population_size=3, automl_eval_interval=2,
        automl_max_generations=2,
    )  # fmt: skip
    recs = drain(automl, lambda rec: 0.9 - rec.id / 20)
    later = [rec for rec in recs if rec.resume_from_job_id]
    assert later
    jobs = {rec.job_id: rec for rec in recs}
    for rec in later:
        source = jobs[rec.resume_from_job_id]
        assert rec.specs["train.num_epochs"] > source.specs["train.num_epochs"]
        assert rec.resume_from_epoch == source.specs["train.num_epochs"]
