"""The prose half of the skill folder says what its data half says."""

import os
import re
from pathlib import Path

import pytest
import yaml

from trainer.config.generate import SKILL_DIR
from trainer.config.skill_info import DEPLOY_PAGE
from trainer.config.tree import keys, leaves

PAGE = SKILL_DIR / "SKILL.md"
DEPLOY = SKILL_DIR / "references" / f"{DEPLOY_PAGE}.md"
PHRASES = (
    "train metric learning", "ml-recog", "retrieval embeddings", "triplet loss recognition",
    "fine-grained matching",
)  # fmt: skip


def infos():
    folder = SKILL_DIR / "references"
    names = ("skill_info.yaml", f"{DEPLOY_PAGE}.skill_info.yaml")
    return [yaml.safe_load((folder / name).read_text()) for name in names]


def front_matter(page):
    return yaml.safe_load(page.read_text().split("---\n")[1])


def rows(text, columns):
    """Cells of the table rows that begin with so many cells, without code marks."""
    cells = [[c.strip().strip("`") for c in line.split("|")[1:-1]] for line in text.splitlines()
             if line.startswith("|")]  # fmt: skip
    return [row for row in cells if len(row) == columns]


def test_front_matter_keeps_the_open_format():
    head = front_matter(PAGE)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", head["name"])
    assert len(head["name"]) <= 64
    assert 0 < len(head["description"]) <= 1024
    assert all(f'"{phrase}"' in head["description"] for phrase in PHRASES)
    assert set(head["allowed-tools"].split()) == {"Read", "Bash"}
    assert head["name"] == infos()[0]["name"]


def test_the_table_of_inferred_values_is_that_of_the_metadata():
    pages = PAGE.read_text() + DEPLOY.read_text()
    table = {tuple(row[:3]) for row in rows(pages, 4) if row[2].isidentifier()}
    table = {
        row
        for row in table
        if row[0] in ("train", "evaluate", "inference", "export", "gen_trt_engine")
    }
    metadata = {
        (action, field, function)
        for info in infos()
        for action, params in info["spec_params"].items()
        for field, function in params.items()
        if function != "key"
    }
    assert len(metadata) == 16
    assert table == metadata


def test_the_table_of_inferred_values_is_the_published_one():
    shared = os.environ.get("HPO_SHARED_DIR", "")
    page = Path(shared) / "reference" / "seed_skill_page.txt"
    if not shared or not page.is_file():
        pytest.skip("HPO_SHARED_DIR does not name a folder with reference/seed_skill_page.txt")
    published = set(
        re.findall(r"^\| (\w+) \| `([\w.]+)` \| `(\w+)` \|", page.read_text(), re.MULTILINE)
    )
    pages = PAGE.read_text() + DEPLOY.read_text()
    ours = set(re.findall(r"^\| (\w+) \| `([\w.]+)` \| `(\w+)` \|", pages, re.MULTILINE))
    assert {row for row in ours if row[2] in {p[2] for p in published}} == published


def test_the_table_of_data_is_that_of_the_metadata():
    table = {
        (a, k, p, flag == "yes")
        for a, k, p, flag in rows(PAGE.read_text() + DEPLOY.read_text(), 4)
        if "/" in p and p.endswith("gz")
    }
    main, deploy = infos()
    sources = {**main["data_sources"], "gen_trt_engine": deploy["data_sources"]["gen_trt_engine"]}
    assert table == {
        (action, key, entry["path"], bool(entry.get("list")))
        for action, entries in sources.items()
        for key, entry in entries.items()
    }


@pytest.mark.parametrize("page", sorted(SKILL_DIR.rglob("*.md")), ids=lambda p: p.name)
def test_keys_and_links_on_the_pages_exist(page):
    text = page.read_text()
    known = set(leaves()) | set(keys())
    short = {name for info in infos() for name in info["spec_shorthand_keys"]}
    for word in re.findall(r"--set ([\w.]+)=", text):
        assert word in known | short | {"key"}, word
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (page.parent / target).exists(), target
    sections = {name.partition(".")[0] for name in known} - {"results_dir"}
    for word in re.findall(r"`([a-z_]+(?:\.[a-z_0-9]+)+)(?:=[^`]*)?`", text):
        if word.partition(".")[0] in sections and not word.endswith(
            ("yaml", "json", "md", "onnx", "engine")
        ):
            assert word in known, word


def test_numbers_on_the_page_are_the_defaults():
    text = PAGE.read_text()
    template = yaml.safe_load((SKILL_DIR / "references" / "spec_template_train.yaml").read_text())
    for sentence, value in (
        ("length of the embedding, {}", template["model"]["feat_dim"]),
        ("`train.num_epochs` (`num_epochs`): {} by default", template["train"]["num_epochs"]),
        ("pictures a step and device, {};", template["train"]["batch_size"]),
        ("`train.seed`: {}.", template["train"]["seed"]),
        (
            "`train.optim.triplet_loss_margin`: {};",
            template["train"]["optim"]["triplet_loss_margin"],
        ),
    ):
        assert sentence.format(value) in text


def test_the_deployment_table_holds_the_defaults_of_its_starter_specs():
    templates = {
        action: yaml.safe_load(
            (SKILL_DIR / "references" / f"spec_template_deploy_{action}.yaml").read_text()
        )
        for action in ("gen_trt_engine", "evaluate", "inference")
    }
    short = infos()[1]["spec_shorthand_keys"]
    checked = 0
    for name, key, default in rows(DEPLOY.read_text(), 3):
        if name in short:
            assert short[name] == key
            value = templates[key.partition(".")[0]]
            for part in key.split("."):
                value = value[part]
            assert str(value) == default
            checked += 1
    assert checked == 5
