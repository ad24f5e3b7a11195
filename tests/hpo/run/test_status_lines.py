"""Lines as the published logger writes them: the newest `kpi` is repeated on every later line."""

import pytest

from hpo.run.status_lines import StatusLines

LOOP, EVAL, TRAIN = (
    "Training loop in progress",
    "Eval metrics generated.",
    "Train metrics generated.",
)


class Logger:
    """What a published training writes.

    Args:
        first: what the line of its first epoch calls it.
        more: what such a line has beside the epoch.
    """

    def __init__(self, first=2, **more):
        self.lines, self.kpi, self.number, self.more = [], {}, first, more
        self.write(status="STARTED", message="Starting Training Loop.")

    def write(self, kpi=None, **line):
        self.kpi = kpi or self.kpi
        self.lines.append({"status": "RUNNING"} | line | ({"kpi": self.kpi} if self.kpi else {}))

    def epoch(self, value, *, is_loop_first):
        """Train an epoch; with a value where it is validated."""
        steps = [lambda: self.write(epoch=self.number, message=LOOP, **self.more)]
        if value is not None:
            steps.append(lambda: self.write({"acc": value}, message=EVAL))
        for step in steps if is_loop_first else reversed(steps):
            step()
        self.write({"train_loss": self.number / 7}, message=TRAIN)
        self.number += 1

    def end(self):
        self.write(message="Training loop complete.")
        self.write(message="Train finished successfully.", status="SUCCESS")


def read(lines, start=0, metric="acc"):
    reader = StatusLines(start)
    told = [item for line in lines for item in reader.read(line)]
    return [(epoch, kpi[metric]) for epoch, kpi in told if metric in kpi], reader


@pytest.mark.parametrize("is_loop_first", [True, False])
@pytest.mark.parametrize(
    ("form", "start"),
    [({"first": 2}, 0), ({"first": 0, "step": 7}, 0), ({"first": 2}, 1), ({"first": 5}, 4),
     ({"first": 4, "step": 7}, 4)],
)  # fmt: skip
@pytest.mark.parametrize(
    "values", [[0.1, 0.2, 0.2, 0.3], [None, 0.1, None, 0.2], [0.1, None, None, 0.1]]
)
def test_a_value_belongs_to_the_epoch_that_it_was_measured_in(is_loop_first, form, start, values):
    log = Logger(**form)
    for value in values:
        log.epoch(value, is_loop_first=is_loop_first)
    log.end()
    epochs = [(start + n, value) for n, value in enumerate(values, 1) if value is not None]
    told, reader = read(log.lines, start)
    assert told == epochs
    assert reader.is_published
    losses, _ = read(log.lines, start, "train_loss")
    assert [epoch for epoch, _ in losses] == [start + n for n in range(1, len(values) + 1)]


def test_a_training_that_was_cut_off_and_goes_on_counts_on():
    log = Logger()
    for value in (0.1, 0.2):
        log.epoch(value, is_loop_first=False)
    log.write({"acc": 0.3}, message=EVAL)  # and then the machine is gone
    again = Logger(first=3)  # from `model_epoch_001.pth`
    for value in (0.4, 0.5):
        again.epoch(value, is_loop_first=False)
    assert read(log.lines + again.lines)[0] == [(1, 0.1), (2, 0.2), (3, 0.4), (4, 0.5)]


@pytest.mark.parametrize("is_loop_first", [True, False])
@pytest.mark.parametrize("before", [1, 2, 3])
def test_a_training_that_goes_on_after_any_epoch_counts_on(is_loop_first, before):
    """Behind the first one, its lines begin as those of a training from the start."""
    log, again = Logger(), Logger(first=before + 1)
    for number in range(before):
        log.epoch(number / 10, is_loop_first=is_loop_first)
    for value in (0.9, 0.5):
        again.epoch(value, is_loop_first=is_loop_first)
    told, reader = read(log.lines + again.lines)
    assert told == [
        *((n + 1, n / 10) for n in range(before)), (before + 1, 0.9), (before + 2, 0.5)
    ]  # fmt: skip
    assert reader.last == before + 2


def test_epochs_that_are_named_beside_their_metrics_are_taken_as_they_are():
    lines = [{"epoch": n, "kpi": {"acc": 0.5}} for n in (2, 4, 6)]
    lines.append({"status": "SUCCESS", "message": "done", "kpi": {"acc": 0.5}})
    told, reader = read(lines)
    assert told == [(2, 0.5), (4, 0.5), (6, 0.5)]
    assert not reader.is_published


def test_metrics_repeated_on_the_lines_of_steps_are_of_the_epoch_before():
    """As a logger writes that names the epoch at each step of training."""
    first, second, third = ({"kpi": {"acc": value}} for value in (0.1, 0.2, 0.3))
    lines = [{"epoch": 1}, {"epoch": 1}, {"epoch": 1} | first, {"epoch": 1} | first]
    lines += [{"epoch": 2} | first, {"epoch": 2} | second, {"epoch": 2} | second]
    lines += [{"epoch": 3} | second, {"epoch": 4} | second, {"epoch": 4} | third]
    assert read(lines)[0] == [(1, 0.1), (2, 0.2), (4, 0.3)]


@pytest.mark.parametrize(("first", "shift"), [(1, 0), (2, 0), (3, 0), (0, 1)])
@pytest.mark.parametrize("more", [{}, {"step": 10}])
def test_lines_of_steps_do_not_change_how_epochs_are_named_beside_metrics(first, shift, more):
    lines = [
        line
        for n, value in enumerate((0.1, 0.2, 0.3), first)
        for line in ({"epoch": n} | more, {"epoch": n, "kpi": {"acc": value}})
    ]
    told, reader = read(lines)
    assert told == [(first + n + shift, value) for n, value in enumerate((0.1, 0.2, 0.3))]
    assert not reader.is_published
    assert reader.shift == shift


def test_equal_metrics_are_no_repetition_where_steps_have_none():
    lines = [line for n in (1, 2, 3) for line in ({"epoch": n}, {"epoch": n, "kpi": {"acc": 0.5}})]
    assert read(lines)[0] == [(1, 0.5), (2, 0.5), (3, 0.5)]


def test_where_no_line_names_an_epoch_none_is_told():
    lines = [{"kpi": {"acc": n / 4}, "message": EVAL} for n in (1, 2, 2, 3)]
    assert read(lines)[0] == [(None, n / 4) for n in (1, 2, 2, 3)]


def test_a_first_epoch_of_1_on_a_line_apart_is_none_of_the_published_logger():
    """So its names count from 1, also once it has gone on after being cut off."""
    lines = [line for n in range(1, 6) for line in ({"epoch": n}, {"kpi": {"acc": n / 8}})]
    for told in (lines, [*lines[:6], {"status": "STARTED"}, *lines[6:]], lines[:2]):
        values, reader = read(told)
        assert values == [(line["epoch"], line["epoch"] / 8) for line in told if "epoch" in line]
        assert (reader.is_published, reader.shift) == (False, 0)


@pytest.mark.parametrize(
    "values", [(0.5, 0.5, 0.6), (0.1, 0.5, 0.5, 0.5, 0.6), (0.5, 0.5, 0.5), (0.1, 0.2, 0.2)]
)
def test_equal_values_in_a_row_are_epochs_where_no_line_names_one(values):
    lines = [{"message": f"epoch {n}", "kpi": {"acc": v}} for n, v in enumerate(values, 1)]
    done = {"status": "SUCCESS", "message": "done", "kpi": {"acc": values[-1]}}
    assert read([*lines, done])[0] == [(None, value) for value in values]
