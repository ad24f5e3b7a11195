"""Checks 7 and 8: every published spelling of a setting is accepted; a misspelt one is not."""

import json

import pytest

from hpo.automl.errors import ReviewDeclinedError
from tests.hpo.automl.contract.pretended import Sdk

ALGORITHM_OF = {
    "automl_population_size": "pbt", "automl_max_generations": "pbt", "automl_eval_interval": "pbt",
    "automl_perturbation_factor": "pbt", "automl_mutation_factor": "dehb",
    "automl_crossover_prob": "dehb", "automl_kde_samples": "bohb", "automl_top_n_percent": "bohb",
    "automl_min_points_in_model": "bohb", "automl_early_stop_threshold": "hyperband_es",
    "automl_min_early_stop_epochs": "hyperband_es", "automl_max_trials": "asha",
    "automl_min_top_configs": "asha", "automl_max_epochs": "hyperband",
    "automl_reduction_factor": "hyperband", "epoch_multiplier": "hyperband",
    "automl_max_experiments": "autoresearch", "research_program": "autoresearch",
    "llm_endpoint": "llm", "base_url": "llm", "llm_model": "llm", "model": "llm",
    "llm_api_key": "llm", "api_key": "llm", "llm_temperature": "llm", "llm_max_tokens": "llm",
    "hybrid_enable_llm_range_narrowing": "hybrid", "enable_llm_range_narrowing": "hybrid",
}  # fmt: skip
VALUES = {
    # the search
    "algorithm": "random", "automl_algorithm": "random", "metric": "acc", "direction": "minimize",
    "automl_max_recommendations": 3, "num_recommendations": 3, "max_recommendations": 3,
    "automl_max_epochs": 9, "automl_reduction_factor": 4, "epoch_multiplier": 2,
    "automl_max_concurrent": 2, "max_concurrent": 2, "automl_max_trials": 9,
    "automl_min_top_configs": 2, "automl_population_size": 6, "automl_max_generations": 3,
    "automl_eval_interval": 2, "automl_perturbation_factor": 1.5, "automl_mutation_factor": 0.4,
    "automl_crossover_prob": 0.4, "automl_kde_samples": 32, "automl_top_n_percent": 20,
    "automl_min_points_in_model": 8, "automl_early_stop_threshold": 0.2,
    "automl_min_early_stop_epochs": 4, "automl_max_experiments": 9,
    "research_program": {"goal": "learn"}, "automl_range_override":
    [{"parameter": "train.lr", "valid_max": 0.01}], "override_automl_disabled_params": True,
    "evolvable_text_parameters": [], "algorithm_specific_params": {}, "seed": 4, "pruner": "none",
    "confirm": 1, "force": True,
    # language models
    "llm_endpoint": "http://h/v1", "base_url": "http://h/v1", "llm_model": "m", "model": "m",
    "llm_api_key": "k", "api_key": "k", "llm_temperature": 0.2, "llm_max_tokens": 100,
    "hybrid_enable_llm_range_narrowing": True, "enable_llm_range_narrowing": True,
    # names, baseline and final evaluation
    "session_id": "s", "experiment_id": "e", "run_baseline": False, "baseline_metric": 0.4,
    "baseline_record_path": "/r.json", "evaluation_records_dir": "/r", "run_final_evaluation": False,
    "final_evaluation": {"metric_value": 0.3}, "final_evaluation_metric": 0.3,
    "final_evaluation_record_path": "/f.json", "reuse_best_metric_for_final_evaluation": True,
    # objectives
    "objectives": ["acc", {"metric": "latency", "weight": 0.5}], "multi_objective": True,
    "latency_objective": True, "include_latency": True, "latency_metric": "ms",
    "latency_direction": "minimize", "latency_weight": 0.5, "latency_scale": 10,
    "metric_weight": 2.0, "metric_scale": 2.0,
    # retention and samples
    "automl_delete_intermediate_ckpt": "yes", "automl_checkpoint_retention_strategy": "best",
    "train_sample_count": 90, "training_sample_count": 90, "num_train_samples": 90,
    "train_samples": 90, "dataset_sample_count": 90, "dataset_size": 90, "samples_per_epoch": 90,
    "custom.train_dataset.sample_count": 90, "custom.train_dataset.num_samples": 90,
    "custom.train_dataset.size": 90, "dataset.train_sample_count": 90,
    "dataset.num_train_samples": 90, "data.train_sample_count": 90, "train.num_samples": 90,
    "allow_unsafe_effective_batch": True,
}  # fmt: skip


@pytest.mark.parametrize("name", list(VALUES))
def test_7_every_published_setting_is_accepted(name):
    from tao_automl.runner import KNOWN_AUTOML_SETTINGS

    from hpo.automl.settings import read_settings

    assert name in KNOWN_AUTOML_SETTINGS
    algorithm = {} if name in {"algorithm", "automl_algorithm"} else {
        "algorithm": ALGORITHM_OF.get(name, "random")
    }  # fmt: skip
    found = read_settings(algorithm | {name: VALUES[name]})
    assert not [text for text in found.warnings if "has no effect" in text]
    kept = json.dumps([dict(found.values), dict(found.options), dict(found.secrets)])
    assert json.dumps(VALUES[name])[1:-1] in kept or found.values["automl_delete_intermediate_ckpt"]


@pytest.mark.parametrize(("word", "value"), [("true", True), ("Yes", True), ("on", True),
                                             ("false", False), ("no", False), ("OFF", False)])  # fmt: skip
def test_7_words_stand_for_true_and_false(word, value):
    from hpo.automl.settings import read_settings

    for name in ("automl_delete_intermediate_ckpt", "run_baseline", "multi_objective"):
        assert read_settings({"algorithm": "random", name: word}).values[name] is value


def test_7_sections_may_be_nested():
    from hpo.automl.settings import read_settings

    given = {"algorithm": "random", "custom": {"train_dataset": {"sample_count": 70}}}
    assert read_settings(given).values["train_sample_count"] == 70


def test_7_range_override_is_a_range(go):
    override = [{"parameter": "train.lr", "valid_min": 0.0002, "valid_max": 0.0004}]
    result = go(settings={"automl_range_override": override}, trials=5)
    rates = [entry["specs"]["train.lr"] for entry in result["history"][1:]]
    assert all(0.0002 <= rate <= 0.0004 for rate in rates)
    with pytest.raises(ValueError, match="custom_param_ranges has another"):
        go(settings={"automl_range_override": override},
           custom_param_ranges={"train.lr": {"valid_max": 0.05}})  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("automl_max_recomendations", "automl_max_recommendations"),
        ("run_base_line", "run_baseline"),
        ("latency_wieght", "latency_weight"),
        ("baseline_metrics", "baseline_metric"),
    ],
)
def test_8_a_misspelt_setting_is_refused_before_any_job(go, wrong, right):
    sdk = Sdk()
    with pytest.raises(ValueError, match=f"{wrong}: no such setting; did you mean '{right}'"):
        go(sdk, settings={wrong: 2})
    assert sdk.jobs == []


def test_9_two_spellings_must_agree(go):
    with pytest.raises(ValueError, match="given twice"):
        go(settings={"num_recommendations": 4, "automl_max_recommendations": 5})


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"pruner": "median"}, "pruner: median has no effect, as a trial's value is known at its"),
        (
            {"algorithm": "hyperband_es"},
            "early_stop_threshold: hyperband_es stops no trial between",
        ),
        ({"pruner": "auto"}, ""),
        ({"algorithm": "hyperband"}, ""),
    ],
)
def test_what_cannot_stop_jobs_that_tell_their_value_at_the_end_is_told(go, settings, told):
    seen = []
    with pytest.raises(ReviewDeclinedError):
        go(settings=settings, confirm=seen.append)
    warnings = [line for line in seen[0]["warnings"] if "effect" in line or "stops no" in line]
    assert len(warnings) == bool(told)
    assert all(told in line for line in warnings)
    assert seen[0]["pruner"] == "none"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"algorithm": "hyperband", "pruner": "median"}, "stops trials by itself, so no other"),
        ({"pruner": "medain"}, "did you mean 'median'"),
    ],
)
def test_a_wrong_pruner_of_jobs_is_refused_as_one_of_trials_here(go, settings, told):
    with pytest.raises(ValueError, match=told):
        go(settings=settings)


@pytest.mark.parametrize(
    "more", [{"in_process": True}, {"ray_address": "auto"}, {"trials_per_gpu": 2}]
)
def test_where_trials_of_this_machine_run_is_refused_of_jobs(go, more):
    with pytest.raises(ValueError, match=f"{next(iter(more))}: trials are jobs of Sdk"):
        go(**more)


def test_a_limit_of_hours_that_cannot_be_checked_is_told(go):
    seen = []
    with pytest.raises(ReviewDeclinedError):
        go(max_hours=1e-9, confirm=seen.append)
    assert "max_hours: cannot be checked, as no time of a trial is known" in seen[0]["warnings"]
