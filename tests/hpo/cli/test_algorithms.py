from hpo.algorithms import ALGORITHMS, PRUNERS


def test_the_table_names_every_algorithm_and_pruner(hpo):
    code, out, err = hpo("algorithms")
    assert (code, err) == (0, "")
    words = {line.split()[0] for line in out.splitlines() if line.strip()}
    assert {"auto", *ALGORITHMS, *PRUNERS} <= words


def test_one_algorithm_with_its_options(hpo):
    code, out, err = hpo("algorithms", "HES")
    assert (code, err) == (0, "")
    assert out.startswith("hyperband_es: Hyperband, and trials end between rungs")
    rows = [line.split() for line in out.splitlines()]
    assert ["early_stop_threshold", "number", "0.1"] in [row[:3] for row in rows]


def test_the_same_for_programs(json_of):
    data = json_of("algorithms")
    assert [row["name"] for row in data["algorithms"]] == list(ALGORITHMS)
    assert set(data["pruners"]) == set(PRUNERS)
    asha = json_of("algorithms", "asha")
    options = {row["name"]: row for row in asha["options"]}
    assert options["min_top_configs"]["default"] is None
    assert options["min_top_configs"]["route_default"] == 5
    assert "automl_max_trials" in options["max_trials"]["aliases"]


def test_a_wrong_name_is_one_line(hpo):
    code, out, err = hpo("algorithms", "ashaa")
    assert (code, out) == (2, "")
    assert "did you mean 'asha'?" in err
