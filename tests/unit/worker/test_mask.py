"""Secrets are taken out of output byte for byte, wherever it is cut, and nothing else is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jobsup.worker.mask import Mask

SECRET = "hunter2-and-more"


def through(mask: Mask, *pieces: bytes, stream: int = 1) -> bytes:
    return b"".join(mask.feed(stream, piece) for piece in pieces) + mask.rest(stream)


def test_a_secret_is_masked_wherever_the_output_is_cut() -> None:
    whole = b"before " + SECRET.encode() + b" after"
    for cut in range(len(whole) + 1):
        assert through(Mask([SECRET]), whole[:cut], whole[cut:]) == b"before *** after"
    assert through(Mask([SECRET]), *(bytes([byte]) for byte in whole)) == b"before *** after"


def test_what_is_no_secret_comes_at_once_and_unchanged() -> None:
    mask = Mask([SECRET])
    assert mask.feed(1, b"a line\n") == b"a line\n"
    assert mask.feed(1, b"hunter2-and") == b""  # it may become one
    assert mask.feed(1, b"-less") == b"hunter2-and-less"
    assert mask.feed(2, b"hunter2") == b""
    assert mask.rest(2) == b"hunter2"


def test_streams_do_not_complete_each_other() -> None:
    mask = Mask([SECRET])
    assert mask.feed(1, b"hunter2") == b""
    assert mask.feed(2, b"-and-more") == b"-and-more"
    assert mask.rest(1) == b"hunter2"


def test_the_longer_of_two_secrets_wins_and_lines_of_one_are_secrets_too() -> None:
    mask = Mask(["password", "password-long", "first line\nsecond line"])
    assert through(mask, b"password-long password second line!") == b"*** *** ***!"


def test_short_values_are_left_alone() -> None:
    assert through(Mask(["true", ""]), b"it is true") == b"it is true"


def test_a_secret_that_is_learnt_later_is_masked_from_then_on() -> None:
    found: list[str] = []
    mask = Mask([], learn=lambda: found)
    assert mask.feed(1, b"nothing yet ") == b"nothing yet "
    found.append(SECRET)
    assert through(mask, SECRET.encode()) == b"***"
    assert mask.text(f"it said {SECRET} \udcff") == "it said *** \udcff"


@given(st.lists(st.binary(max_size=12), max_size=12), st.lists(st.text("abc", min_size=6, max_size=9), max_size=3))
def test_cutting_changes_nothing(pieces: list[bytes], secrets: list[str]) -> None:
    whole = through(Mask(secrets), b"".join(pieces))
    shown = through(Mask(secrets), *pieces)
    assert all(secret.encode() not in shown for secret in secrets)
    if not secrets:
        assert shown == whole == b"".join(pieces)
