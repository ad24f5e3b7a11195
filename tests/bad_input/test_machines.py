"""Machines with folders, disks and addresses that cannot be used: one line each, whatever the verb."""

import pytest

from tests.bad_input.judging import Case
from tests.bad_input.shelf import STUDY, take_model, take_pictures, take_run

SEARCH = "hpo search --train train --reference gallery --query val --budget 1 --in-process --yes"
QUICK = "hpo search study.yaml --in-process --yes"
CACHES = {
    "below /proc": "/proc/nowhere/c",
    "a file": "/etc/passwd",
    "below a file": "/etc/passwd/c",
}
CASES = [
    *(
        Case(
            name=f"cache {what}: {words.split()[1]}",
            words=words,
            make=take_pictures,
            env={"HPO_CACHE_DIR": place},
            says=("HPO_CACHE_DIR: must be a folder", place),
        )
        for what, place in CACHES.items()
        for words in (SEARCH, "hpo cache", "hpo search --budget 1 --in-process --yes")
    ),
    Case(
        name="no cache can be written",
        words="hpo cache",
        env={"HPO_CACHE_DIR": "", "XDG_CACHE_HOME": "/proc/nowhere", "HPO_CACHE_GB": "0"},
        says=("HPO_CACHE_GB",),
    ),
    *(
        Case(
            name=f"runs {what}",
            words=f"{QUICK} --out {place}",
            files={"study.yaml": STUDY},
            says=(place, "cannot hold run directories", "--out"),
        )
        for what, place in CACHES.items()
    ),
    *(
        Case(
            name=f"results {what}: {action}",
            words=f"ml_recog {action} -e spec.yaml results_dir={place}",
            make=take_model,
            says=("results_dir", place, "cannot be written"),
        )
        for what, place in CACHES.items()
        for action in ("train", "evaluate", "inference", "export")
    ),
    *(
        Case(
            name=f"MLflow at {uri}",
            words="hpo ui",
            make=take_run,
            env={"MLFLOW_TRACKING_URI": uri},
            says=("MLFLOW_TRACKING_URI",),
        )
        for uri in (
            *("file:///srv/mlruns", "mlruns", "htp://h:5000", "http://", "http://127.0.0.1:99999"),
            *("localhost:5000", "sqlite:////proc/nowhere/x.db", "sqlite://", "uc:x", "s3://b/x"),
            *("postgresql+nodriver://h/d", "http://[::1"),
        )
    ),
    *(
        Case(
            name=f"file moved: {words}",
            words=f"hpo resume --in-process --budget +1 --moved {words}",
            make=take_run,
            says=("--moved", said),
        )
        for words, said in (
            ("/old/w.ckpt", "must be OLD=NEW"),
            ("=/new/w.ckpt", "must be OLD=NEW"),
            ("/old/w.ckpt=/proc/nowhere", "no such file or folder: /proc/nowhere"),
            ("/old/w.ckpt=/etc/hostname", "the run names no file /old/w.ckpt"),
        )
    ),
    *(
        Case(
            name=f"pictures at {place}",
            words=f"hpo search --data {place} --budget 1 --in-process --yes",
            says=(place, said),
        )
        for place, said in (
            ("s3:/shop/all", "two slashes, as s3://shop"),
            ("memory://nothing/here", "nothing there"),
            ("nosuch://shop/all", "no such kind of address"),
        )
    ),
    Case(
        name="weights among options that are not there",
        words=f"{SEARCH} --options model.pretrained_trunk_path=/x/a.pth,/x/b.pth",
        make=take_pictures,
        says=("search.options.model.pretrained_trunk_path", "/x/a.pth does not exist"),
    ),
    Case(
        name="new place that is none",
        words="hpo resume --in-process --budget +1 --train /proc/nowhere",
        make=take_run,
        says=("--train",),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_machine_that_does_not_serve_is_one_line(case, answered):
    line = answered(case)
    assert all(word in line for word in case.says)
