"""An algorithm of another package, found by its entry point."""

import pytest

from hpo.algorithms import create_algorithm, find_algorithm, list_algorithms
from hpo.algorithms.entry import Context
from hpo.algorithms.primary import StoppedByPrimary
from hpo.algorithms.registry import check_options
from hpo.core.errors import SpecError
from tests.quick_runs import quick_space

MODULE = """
from hpo.algorithms.entry import AlgorithmEntry
from hpo.algorithms.options import Option
from hpo.core.trial import CONTINUE, Suggestion


class Fixed:
    def __init__(self, setting):
        self.space, self.epochs = setting.space, setting.num_epochs
        self.share = setting.options["share"]

    def ask(self, number):
        values = self.space.from_unit([self.share] * len(self.space.dimensions))
        latents = self.space.encode(values)
        return Suggestion(number=number, params=values, latents=latents, until_epoch=self.epochs)

    def restore(self, trial): pass
    def report(self, number, measurement): return CONTINUE
    def tell(self, trial): pass


ENTRY = AlgorithmEntry(
    name="fixed", summary="always the same point", build=Fixed,
    options=(Option(name="share", kind=float, default=0.5, help="where"),),
)
SPELT = AlgorithmEntry(
    name="spelt", aliases=("CMA", "cma-es"), summary="named in capitals", build=Fixed, options=()
)
BROKEN = object()
"""


@pytest.fixture(autouse=True)
def _package(tmp_path, monkeypatch):
    (tmp_path / "their_algorithms.py").write_text(MODULE)
    info = tmp_path / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[hpo.algorithms]\nfixed = their_algorithms:ENTRY\nCMAES = their_algorithms:SPELT\nbroken = their_algorithms:BROKEN\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))


def test_it_is_found_listed_once_asked_for_and_built_with_its_options():
    assert find_algorithm("fixed").summary == "always the same point"
    made = create_algorithm(
        "fixed", quick_space(), direction="maximize", num_epochs=9, seed=0, options={"share": 0.25}
    )
    assert made.ask(0).params["train.margin"] == 0.5


def test_of_several_objectives_it_hears_the_primary_while_a_trial_runs():
    made = create_algorithm(
        "fixed", quick_space(), direction="maximize", num_epochs=9, seed=0,
        context=Context(stops_by=("loss", -1.0)),
    )  # fmt: skip
    assert isinstance(made, StoppedByPrimary)
    assert made.ask(0).until_epoch == 9


def test_what_is_no_entry_is_refused_by_name():
    with pytest.raises(
        SpecError, match="entry point broken of hpo.algorithms: must be an AlgorithmEntry"
    ):
        find_algorithm("broken")
    with pytest.raises(SpecError, match="entry point broken"):
        list_algorithms()


@pytest.fixture
def sound(tmp_path):
    """The package without the entry that is none."""
    file = tmp_path / "theirs-1.0.dist-info/entry_points.txt"
    file.write_text(file.read_text().replace("broken = their_algorithms:BROKEN\n", ""))


@pytest.mark.parametrize("name", ["CMAES", "cmaes", "CmaEs", "CMA", "cma", "cma-es"])
def test_it_is_found_in_any_case_and_by_its_aliases(sound, name):
    entry = find_algorithm(name)
    assert (entry.name, entry.summary) == ("CMAES", "named in capitals")
    assert entry.name in [one.name for one in list_algorithms()]
    assert check_options(name, {}) == {}


@pytest.mark.parametrize("broken", ["their_algorithms:BROKEN", "no_such_module:ENTRY"])
def test_a_broken_package_keeps_no_other_name_from_being_read(sound, tmp_path, broken):
    file = tmp_path / "theirs-1.0.dist-info/entry_points.txt"
    file.write_text(file.read_text().replace("[hpo.algorithms]", f"[hpo.algorithms]\na = {broken}"))
    assert find_algorithm("cma").name == "CMAES"
    with pytest.raises(SpecError, match="got 'tpee'; did you mean 'tpe'"):
        find_algorithm("tpee")


def test_it_is_among_those_that_an_unknown_name_lists(sound):
    with pytest.raises(SpecError, match=r"auto, random, .*fixed, CMAES; got 'fixd'.*fixed"):
        find_algorithm("fixd")


def test_one_with_a_name_of_ours_is_told(sound, tmp_path):
    file = tmp_path / "theirs-1.0.dist-info/entry_points.txt"
    file.write_text("[hpo.algorithms]\nTPE = their_algorithms:ENTRY\n")
    assert find_algorithm("TPE").summary != "always the same point"
    with pytest.raises(SpecError, match="entry point TPE of hpo.algorithms: must be called other"):
        list_algorithms()
