import threading
import time

import pytest
import torch

from trainer.data.prefetch import _stream_of, ahead, on_own_stream, one_ahead


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


def test_a_card_has_one_stream_for_all_epochs(monkeypatch):
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: [device])
    _stream_of.cache_clear()
    streams = [_stream_of(torch.device("cuda", index)) for index in (0, 1, 0, 1)]
    _stream_of.cache_clear()
    assert streams[0] is streams[2]
    assert streams[1] is streams[3]
    assert streams[0] != streams[1]


@pytest.mark.gpu
def test_memory_of_one_epoch_serves_the_next():
    device, reserved = torch.device("cuda", 0), []
    for _ in range(5):
        made = ((torch.zeros(64 * 2**20, device=device),) for _ in range(4))
        assert sum(1 for _ in on_own_stream(made, device)) == 4
        reserved.append(torch.cuda.memory_reserved(device))
    assert reserved[-1] == reserved[0]
