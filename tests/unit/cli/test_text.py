"""What a job wrote cannot steer the terminal, whatever way it is cut into pieces."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobsup.actions.output import Piece
from jobsup.cli.printer import Printer, _Text
from jobsup.cli.text import clean, clean_lines, pairs, print_json, table

HARMFUL = [
    ("\x1b[31mred\x1b[0m", "red"),
    ("\x1b]0;title\x07text", "text"),
    ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
    ("\x1b(0line\x1b7", "line"),
    ("bell\x07 del\x7f c1\x9b31m", "bell del c131m"),
    ("\u202eright to left", "right to left"),
    ("lone \x1b", "lone "),
]


@pytest.mark.parametrize(("written", "shown"), HARMFUL)
def test_control_sequences_are_taken_out(written: str, shown: str) -> None:
    assert clean(written) == shown
    assert clean_lines(written) == shown


def test_one_line_stays_one_line() -> None:
    assert clean("a\nb\tc\r\nd") == "a b c  d"


def test_lines_and_tabs_stay_and_carriage_returns_end_lines() -> None:
    assert clean_lines("10%\r50%\r100%\r\ndone\tyes\n") == "10%\n50%\n100%\ndone\tyes\n"


def test_an_unended_title_swallows_no_more_than_its_mark() -> None:
    assert clean_lines("\x1b]0;never ends\nnext line\n") == "0;never ends\nnext line\n"


@given(st.lists(st.sampled_from([*"ab\n\r\t\x1b[]m;0\x07\x9b", "ü", "€", "😀", "\x1b[1m", "\r\n"])), st.data())
def test_pieces_print_the_same_however_they_are_cut(parts: list[str], data: st.DataObject) -> None:
    whole = "".join(parts).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    text, at = _Text(), 0
    shown = ""
    for cut in [*cuts, len(whole)]:
        shown += text.add(whole[at:cut])
        at = cut
    shown += text.finish()
    once = _Text()
    assert shown == once.add(whole) + once.finish()
    assert not set(shown) & {chr(code) for code in range(0x20) if chr(code) not in "\n\t"}


def test_bytes_that_are_no_text_are_shown_as_such(capsys: pytest.CaptureFixture[str]) -> None:
    printer = Printer(is_raw=False)
    printer.write(Piece(b"a\xffb\xe2\x82"))
    printer.write(Piece(b"\xac\n"))
    printer.finish()
    assert capsys.readouterr().out == "a\ufffdb\u20ac\n"


def test_dropped_bytes_get_a_line_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    printer = Printer(is_raw=False)
    printer.write(Piece(b"head"))
    printer.write(Piece(b"tail\n", dropped_before=1234))
    assert capsys.readouterr().out == "head\n[... 1234 bytes dropped ...]\ntail\n"


def test_raw_bytes_go_through_unchanged(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    data = bytes(range(256))
    Printer(is_raw=True).write(Piece(data, dropped_before=1))
    captured = capfdbinary.readouterr()
    assert captured.out == data
    assert captured.err == b"[... 1 byte dropped ...]\n"


def test_columns_line_up_and_have_no_trailing_blanks() -> None:
    assert table(("A", "LONG"), [("xyz", "1"), ("", "22")]) == "A    LONG\nxyz  1\n     22"


def test_pairs_line_up_at_the_colon() -> None:
    assert pairs([("a", "1"), ("bcd", "2")]) == "  a: 1\nbcd: 2"


def test_json_is_versioned_and_on_one_line_for_a_program(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"x": "\x9b"})
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert "\x9b" not in out
    assert json.loads(out) == {"schema": 1, "x": "\x9b"}
