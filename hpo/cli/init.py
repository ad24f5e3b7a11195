"""`hpo init`: write a study file or a spec file to begin with, with comments."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hpo.cli.run_flags import add_json_argument, print_json
from hpo.core.errors import SpecError
from hpo.core.text import absolute_path
from hpo.study.sections import SPLITS

HELP = "write a study file to begin with, every key explained"
EPILOG = """\
examples:
  hpo init                                             study.yaml, with everything at its default
  hpo init shop.yaml --train shots/train --reference shots/gallery --query shots/val
  hpo init defects.yaml --data photos --class-disjoint
  hpo init --spec                                      spec.yaml for `ml_recog train -e spec.yaml`
then: hpo plan study.yaml, hpo search study.yaml
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "file", metavar="FILE", nargs="?", help="file to write (default: study.yaml or spec.yaml)"
    )
    parser.add_argument("--spec", action="store_true", help="the trainer's spec, not a study")
    parser.add_argument("--force", action="store_true", help="write over a file that is there")
    data = parser.add_argument_group("what the study begins with")
    data.add_argument("--train", metavar="DIR", help="training pictures: folder of class folders")
    data.add_argument("--reference", metavar="DIR", help="gallery to match against")
    data.add_argument("--query", metavar="DIR", help="validation queries")
    data.add_argument("--test-reference", metavar="DIR", help="gallery of the final evaluation")
    data.add_argument("--test-query", metavar="DIR", help="queries of the final evaluation")
    data.add_argument("--data", metavar="DIR", help="one folder of classes, to be split")
    data.add_argument(
        "--class-disjoint", action="store_true", help="split --data by class, not by picture"
    )
    data.add_argument("--weights", metavar="WEIGHTS", help="pretrained weights of the trunk")
    data.add_argument("--budget", metavar="B", help="how long to search")
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Write the file and say what comes next."""
    import shlex

    target = Path(args.file or ("spec.yaml" if args.spec else "study.yaml"))
    if target.exists() and not args.force:
        raise SpecError(f"{target}: exists already; name another file, or give --force")
    if not target.parent.is_dir():
        raise SpecError(f"{target.parent}: no such folder")
    given = _given(args, target.parent)
    text = _spec_text(given) if args.spec else _study_text(given, target)
    target.write_text(text, encoding="utf-8")
    name = shlex.quote(str(target))
    after = [f"hpo plan {name}", f"hpo search {name}"]
    if args.spec:
        after = [f"ml_recog train -e {name} results_dir=results"]
    if args.json:
        print_json({"file": str(target.resolve()), "next": after})
    else:
        print(f"written   {target}\nnext      " + "\n          ".join(after))
    return 0


def _given(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """What the flags say, by the keys of a study file; paths as seen from that file's folder."""
    places = {f"data.{name}": getattr(args, name) for name in SPLITS} | {"data.folder": args.data}
    given: dict[str, Any] = {key: _from(place, folder) for key, place in places.items() if place}
    given |= {"data.class_disjoint": True} if args.class_disjoint else {}
    return given | {key: own for key in ("weights", "budget") if (own := getattr(args, key))}


def _from(path: str, folder: Path) -> str:
    """A path as it is written in a file of a folder."""
    if "://" in path or path.startswith(("~", "/")) or folder == Path():
        return path
    return str(absolute_path(path))


def _study_text(given: dict[str, Any], target: Path) -> str:
    from hpo.core.yaml_io import parse_texts, parse_yaml
    from hpo.study.spec import parse_study
    from hpo.study.starter import study_text

    text = study_text({"name": target.stem, **given})
    parse_study(parse_yaml(text, str(target)), str(target), texts=parse_texts(text, str(target)))
    return text


def _spec_text(given: dict[str, Any]) -> str:
    import json

    from hpo.core.spec_dicts import merged
    from hpo.core.yaml_io import read_yaml
    from hpo.study.skill import load_skill
    from hpo.study.spec import DEFAULT_TRAINER
    from hpo.study.starter import spec_text
    from hpo.study.trainers import find_trainer

    sources = {key.removeprefix("data."): value for key, value in given.items()}
    for name in ("folder", "class_disjoint", "budget", "test_reference", "test_query"):
        if name in sources:
            flag = "data" if name == "folder" else name.replace("_", "-")
            raise SpecError(
                f"--{flag}: a spec has no place for it; give --train, --reference, --query"
            )
    trainer = find_trainer(DEFAULT_TRAINER)
    skill = load_skill(trainer.skill_dir)
    template = read_yaml(skill.template_file("train"))
    template = merged(template, trainer.data_overrides(sources))
    schema = json.loads(skill.schema_file("train").read_text(encoding="utf-8"))
    return spec_text(template, schema)
