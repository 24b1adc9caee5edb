"""Memory that many share: the sum is right, and it is clear who has to go."""

from __future__ import annotations

from sidecar.core.shared_memory import SharedMemory


def test_nobody_goes_below_the_limit_and_the_oldest_beyond_it() -> None:
    memory: SharedMemory[str] = SharedMemory(100)
    memory.hold("first", 50)
    memory.hold("second", 50)
    assert (memory.victim(), memory.used, len(memory)) == (None, 100, 2)
    memory.hold("first", 51)  # it keeps its age
    assert (memory.victim(), memory.used) == ("first", 101)
    memory.release("first")
    memory.release("first")
    assert (memory.victim(), memory.used, len(memory)) == (None, 50, 1)


def test_who_has_not_proven_itself_goes_first_whatever_its_age() -> None:
    memory: SharedMemory[str] = SharedMemory(100)
    memory.hold("proven", 60, proven=True)
    memory.hold("unproven", 60)
    assert memory.victim() == "unproven"
    memory.hold("unproven", 60, proven=True)
    assert (memory.victim(), memory.used) == ("proven", 120)
    memory.release("proven")
    assert (memory.victim(), memory.used, len(memory)) == (None, 60, 1)


def test_one_alone_is_not_closed() -> None:
    memory: SharedMemory[str] = SharedMemory(100)
    memory.hold("large", 1000)
    assert memory.victim() is None


def test_more_is_taken_only_if_there_is_room() -> None:
    memory: SharedMemory[str] = SharedMemory(100)
    assert memory.take("one", 60)
    assert not memory.take("two", 41)
    assert memory.take("one", 40)
    assert (memory.used, len(memory)) == (100, 1)
    memory.release("one")
    assert memory.used == 0
