import threading
import time

import pytest

from trainer.data.prefetch import ahead, one_ahead


def test_items_come_in_order():
    assert list(ahead(iter(range(50)))) == list(range(50))
    assert list(ahead(iter([]))) == []


def test_the_next_item_is_made_meanwhile():
    made = []

    def slow():
        for i in range(3):
            made.append(i)
            yield i

    items = ahead(slow())
    assert next(items) == 0
    deadline = time.monotonic() + 5
    while len(made) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert made == [0, 1, 2]
    items.close()


def test_an_error_comes_in_its_place():
    def broken():
        yield 1
        message = "broken"
        raise ValueError(message)

    items = ahead(broken())
    assert next(items) == 1
    with pytest.raises(ValueError, match="broken"):
        next(items)


def test_exceptions_can_be_items():
    error = ValueError("an item")
    assert list(ahead(iter([error]))) == [error]


def test_leaving_early_ends_the_thread():
    before = threading.active_count()
    for item in ahead(iter(range(1000))):
        if item == 2:
            break
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before


@pytest.mark.parametrize("count", [0, 1, 5])
def test_each_item_comes_when_the_next_is_begun(count):
    begun = []

    def items():
        for number in range(count):
            begun.append(number)
            yield number

    seen = [(item, len(begun)) for item in one_ahead(items())]
    assert seen == [(number, min(number + 2, count)) for number in range(count)]
