"""What is made once is kept, within limits, and never made twice at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from nanobatch.errors import InputError
from nanobatch.model import Reference
from nanobatch.references.memory import Memory


def of(size: int) -> Reference:
    return Reference(bytes(size), "image/png", "0" * 64)


class Maker:
    """Counts how often something is made."""

    def __init__(self, size: int = 10) -> None:
        self.size = size
        self.count = 0

    def __call__(self) -> Reference:
        self.count += 1
        return of(self.size)


def test_it_is_made_once() -> None:
    """The second asker gets what the first one had made."""
    memory, make = Memory[str](max_bytes=100), Maker()
    assert memory.get("a", make) is memory.get("a", make)
    assert make.count == 1


def test_the_longest_unused_is_forgotten_first() -> None:
    """Not the oldest one goes, but the one that nobody asked for."""
    memory = Memory[str](max_bytes=30)
    makers = {name: Maker() for name in "abcd"}
    for name in "abcabad":  # c is unused when d comes
        memory.get(name, makers[name])
    for name in "abd":
        memory.get(name, makers[name])
    assert {name: make.count for name, make in makers.items()} == {"a": 1, "b": 1, "c": 1, "d": 1}
    memory.get("c", makers["c"])
    assert makers["c"].count == 2


def test_the_bytes_are_bounded() -> None:
    """However much is asked for, only so much is kept, and what is larger than all of it not at all."""
    memory = Memory[int](max_bytes=100)
    for number in range(50):
        memory.get(number, Maker(30))
    assert repr(memory) == "Memory(3 references, 90 of 100 bytes)"
    huge = Maker(101)
    assert len(memory.get(99, huge).data) == len(memory.get(99, huge).data) == 101
    assert huge.count == 2
    assert repr(memory) == "Memory(3 references, 90 of 100 bytes)"


def test_it_can_be_emptied() -> None:
    """After clearing, everything is made anew."""
    memory, make = Memory[str](max_bytes=100), Maker()
    memory.get("a", make)
    memory.clear()
    assert repr(memory) == "Memory(0 references, 0 of 100 bytes)"
    memory.get("a", make)
    assert make.count == 2


def test_many_threads_wait_for_one() -> None:
    """Whoever asks while it is being made gets the same one."""
    memory, begun, go_on = Memory[str](max_bytes=100), threading.Event(), threading.Event()
    count = 0

    def make() -> Reference:
        nonlocal count
        count += 1
        begun.set()
        assert go_on.wait(10)
        return of(10)

    with ThreadPoolExecutor(8) as threads:
        first = threads.submit(memory.get, "a", make)
        assert begun.wait(10)
        others = [threads.submit(memory.get, "a", make) for _ in range(7)]
        go_on.set()
        assert {id(future.result(10)) for future in [first, *others]} == {id(first.result())}
    assert count == 1


def test_different_keys_do_not_wait_for_each_other() -> None:
    """While one is made slowly, another is made at once."""
    memory, begun, go_on = Memory[str](max_bytes=100), threading.Event(), threading.Event()

    def slow() -> Reference:
        begun.set()
        assert go_on.wait(10)
        return of(1)

    with ThreadPoolExecutor(1) as threads:
        future = threads.submit(memory.get, "slow", slow)
        assert begun.wait(10)
        assert len(memory.get("quick", Maker(2)).data) == 2
        assert not future.done()
        go_on.set()
        assert len(future.result(10).data) == 1


def test_a_failure_is_everybodys_but_not_for_ever() -> None:
    """Who waits for what fails gets the failure; the next one tries anew."""
    memory, begun, go_on = Memory[str](max_bytes=100), threading.Event(), threading.Event()

    def fail() -> Reference:
        begun.set()
        assert go_on.wait(10)
        raise InputError("damaged")

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(memory.get, "a", fail)
        assert begun.wait(10)
        second = threads.submit(memory.get, "a", fail)
        go_on.set()
        for future in (first, second):
            with pytest.raises(InputError, match="damaged"):
                future.result(10)
    assert len(memory.get("a", Maker(3)).data) == 3


def test_threads_at_random_keep_the_count_right() -> None:
    """After many threads asked for many keys, what is said to be kept is kept."""
    memory = Memory[int](max_bytes=50)
    with ThreadPoolExecutor(8) as threads:
        sizes = list(threads.map(lambda number: len(memory.get(number % 9, Maker(number % 9)).data), range(900)))
    assert sizes == [number % 9 for number in range(900)]
    assert repr(memory) == "Memory(9 references, 36 of 50 bytes)"
