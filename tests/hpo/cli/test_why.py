import json
import shutil


def test_a_pruned_trial(hpo, json_of, first):
    pruned = [t["trial"] for t in json_of("status", "first")["trials"] if t["state"] == "pruned"]
    code, out, err = hpo("why", "first", pruned[0])
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == f"trial {pruned[0]}  pruned"
    assert lines[1].startswith("  stopped at epoch 2 of 9: best ")
    assert any("it would have gone on with at least" in line for line in lines)
    found = json_of("why", first, pruned[0])
    assert found["needed"] > found["value"]
    assert found["competitors"][found["place"] - 1]["trial"] == pruned[0]


def test_a_failed_trial_and_one_that_is_not_there(hpo, first):
    code, out, _ = hpo("why", "first", "1")
    assert code == 0
    assert "the loss exploded on purpose" in out
    code, out, err = hpo("why", "first", "99")
    assert (code, out) == (2, "")
    assert "there is no trial 99; trials are 0 to 3" in err


def test_what_leads_a_search_that_has_not_ended_is_the_best_so_far(hpo, json_of, first, tmp_path):
    best = json_of("best", first)["trial"]
    assert f"trial {best}  complete  winner" in hpo("why", first, best)[1]
    stopped = shutil.copytree(first, tmp_path / "stopped")
    state = json.loads((stopped / "state.json").read_text())
    (stopped / "state.json").write_text(json.dumps({**state, "status": "interrupted"}))
    assert f"trial {best}  complete  best so far" in hpo("why", stopped, best)[1]
    assert json_of("why", stopped, best)["role"].startswith("best so far")
