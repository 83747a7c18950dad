"""Bringing what a callable returned to its end: coroutines are awaited, and generators tell how far they are."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Awaitable, Generator
from typing import Any

from jobsup import current

_plain: set[type] = {type(None), bool, int, float, str, bytes, list, tuple, dict}
"""What is neither awaited nor iterated; others are added as they are met."""
PLAIN_MAX = 1000


class ProgressError(Exception):
    """A generator yielded something that tells no progress."""


def drive(value: Any) -> Any:
    """Return what a call comes to: its value, what it awaits, or what its generator returns in the end."""
    if type(value) in _plain:  # to ask of what kind it is would take longer than many a call
        return value
    if isinstance(value, Generator):
        return _drive_generator(value)
    if inspect.isasyncgen(value):
        return _run(_drive_async_generator(value))
    if inspect.isawaitable(value):
        return _run(_wait_for(value))
    if len(_plain) < PLAIN_MAX:
        _plain.add(type(value))
    return value


def _run(coroutine: Any) -> Any:
    import asyncio  # costs a runner of plain functions nothing

    return asyncio.run(coroutine)


async def _wait_for(value: Awaitable[Any]) -> Any:
    return await value


def _drive_generator(generator: Generator[Any, Any, Any]) -> Any:
    while True:
        try:
            item = next(generator)
        except StopIteration as end:
            return end.value
        _tell(item)


async def _drive_async_generator(generator: AsyncGenerator[Any, Any]) -> None:
    async for item in generator:
        _tell(item)


def _tell(item: Any) -> None:
    """Take a fraction, a text, or a pair of both for progress; None is nothing to tell."""
    match item:
        case None:
            return
        case str():
            current.progress(text=item)
        case (int() | float() as fraction, str() as text) if 0 <= fraction <= 1:
            current.progress(fraction, text)
        case (int() | float()) as fraction if 0 <= fraction <= 1:
            current.progress(fraction)
        case _:
            shown = repr(item)[:100]
            raise ProgressError(f"yielded {shown}: a generator yields its progress, from 0 to 1, a text, or both")
