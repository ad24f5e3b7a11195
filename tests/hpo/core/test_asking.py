from hpo.core.asking import ask
from hpo.core.trial import Suggestion


class Thinking:
    """Has an answer after so many waits."""

    def __init__(self, waits):
        self.left, self.asked = waits, 0

    def ask(self, number):
        self.asked += 1
        return (
            None if self.left else Suggestion(number=number, params={}, latents={}, until_epoch=1)
        )

    def settle(self):
        if not self.left:
            return False
        self.left -= 1
        return True


def test_it_waits_for_what_an_algorithm_thinks_about():
    algorithm = Thinking(waits=3)
    assert ask(algorithm, 5).number == 5
    assert algorithm.asked == 4


def test_while_trials_run_nobody_waits():
    algorithm = Thinking(waits=3)
    assert ask(algorithm, 5, waits=False) is None
    assert algorithm.asked == 1


def test_an_algorithm_that_has_nothing_more_is_asked_once():
    algorithm = Thinking(waits=0)
    algorithm.ask = lambda number: None
    assert ask(algorithm, 5) is None
