import shutil


def test_a_run_is_pinned_said_and_used(hpo, fails, runs, first, second, tmp_path):
    (tmp_path / "photo.jpg").touch()
    code, out, _ = hpo("use")
    assert (code, out) == (0, f"{first} (the newest finished; none is pinned)\n")
    assert "has no exported model yet" in fails("use", second)
    assert hpo("export", "second")[0] == 0
    assert hpo("use", "first")[1] == f"{first} (pinned)\n"
    _, out, err = hpo("predict", "photo.jpg")
    assert out == "photo.jpg: a (0.000)\n"
    assert f"run {first}\n" in err
    assert hpo("use", "--none")[1].startswith(f"{second} (the newest finished")
    assert f"run {second}\n" in hpo("predict", "photo.jpg")[2]
    assert "give one of the two" in fails("use", "first", "--none")


def test_a_search_that_goes_on_is_not_called_finished(hpo, json_of, runs, second):
    shutil.rmtree(runs / "first")
    assert hpo("use") == (
        0,
        "no run below runs/ is finished yet, so there is no model to use\n",
        "",
    )
    assert json_of("use") == {"run": None, "pinned": False}
    shutil.rmtree(second)
    assert hpo("use", "--none")[0] == 0


def test_a_pinned_run_without_a_model_is_named_where_others_have_one(
    hpo, json_of, runs, first, second
):
    hpo("export", "second")
    hpo("use", "second")
    (second / "best" / "model.onnx").unlink()
    said = f"{second} is pinned and has no exported model; pin another, or `hpo use --none`\n"
    assert hpo("use")[1] == said
    assert json_of("use") == {"run": str(second), "pinned": True}
    assert hpo("use", "--out", str(runs))[1] == said.replace("--none", f"--none --out {runs}")
    assert hpo("use", "--none")[1].startswith(f"{first} (the newest finished")
