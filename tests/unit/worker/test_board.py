"""The page that a worker and a runner share, used by two real processes at once."""

from __future__ import annotations

import mmap
import multiprocessing
import os
import random
import select
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from jobsup.worker.board import ANSWERS_MAX, STDOUT, Board

CALLS = 30_000
END_SECONDS = 60.0


@contextmanager
def beside(work: Callable[..., None], *arguments: Any) -> Iterator[Any]:
    """Do something in another process meanwhile; what it asserts is asserted here."""
    process = multiprocessing.get_context("fork").Process(target=work, args=arguments)
    process.start()
    try:
        yield process
        process.join(END_SECONDS)
        assert process.exitcode == 0
    finally:
        process.kill()
        process.join()


def begin_all(page: int, begun: mmap.mmap) -> None:
    board = Board(page)
    for number in range(CALLS):
        if board.begin(number):
            begun[number] = 1


def test_a_call_that_was_taken_back_never_begins_and_every_other_does() -> None:
    page = Board.open_file()
    board, begun = Board(page), mmap.mmap(-1, CALLS)
    drawn = random.Random(7)
    taken_back: list[tuple[int, int]] = []
    floor = 0
    with beside(begin_all, page, begun) as process:
        while process.is_alive():
            floor = min(CALLS, max(floor, board.taken + drawn.randint(1, 40)))
            taken_back.append((board.take_back(floor), floor))
    assert board.taken == CALLS
    forbidden = {number for first, floor in taken_back for number in range(first, floor)}
    assert forbidden, "some were taken back in time"
    assert not [number for number in forbidden if begun[number]]
    highest = max(floor for _, floor in taken_back)
    assert all(begun[number] for number in range(highest, CALLS))
    assert sum(begun[:highest]) > 0
    os.close(page)


def write_all(page: int, pipe: int) -> None:
    board, drawn, total = Board(page), random.Random(3), 0
    for _ in range(3000):
        total += os.write(pipe, b"x" * drawn.randint(0, 3000))
        assert board.amount_written(STDOUT, pipe) == total


def test_how_much_was_ever_written_is_known_exactly_while_the_other_side_reads() -> None:
    page = Board.open_file()
    board = Board(page)
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    total = 0
    with beside(write_all, page, writing):
        os.close(writing)
        while True:
            select.select([reading], [], [], END_SECONDS)
            try:
                data = board.read(STDOUT, reading, 1 + total % 5000)
            except BlockingIOError:
                continue
            if not data:
                break
            total += len(data)
    assert board.amount_read(STDOUT) == total > 1_000_000
    os.close(reading)
    os.close(page)


def lay_down_all(page: int, bell: int, handed_over: int) -> None:
    board, number = Board(page), 0
    while number < CALLS:
        for _ in os.read(handed_over, ANSWERS_MAX):
            if board.lay_down(number, b"%d;" % number * (number % 40)):
                os.write(bell, b"!")
            number += 1


def test_every_answer_is_found_and_who_waits_for_one_is_woken() -> None:
    page = Board.open_file()
    board, drawn = Board(page), random.Random(5)
    bell, ring = os.pipe()
    handed_over, hand_over = os.pipe()
    taken = handed = waits = 0
    with beside(lay_down_all, page, ring, handed_over):
        while taken < CALLS:
            more = min(CALLS - handed, drawn.randint(0, ANSWERS_MAX - (handed - taken)))
            os.write(hand_over, b"." * more)
            handed += more
            wanted = drawn.randint(taken, handed)
            if wanted > taken and not board.wake_at(wanted):
                waits += 1
                while board.answered < wanted:  # the bell may have rung for the last time as well
                    assert select.select([bell], [], [], END_SECONDS)[0], "it was woken"
                    os.read(bell, ANSWERS_MAX)
            for number in range(taken, board.answered):
                assert board.answer(number) == b"%d;" % number * (number % 40)
            taken = board.answered
    assert waits > 100
    for fd in (page, bell, ring, handed_over, hand_over):
        os.close(fd)
