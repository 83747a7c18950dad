"""Durations and sizes: what is read, what is refused in which words, and the way back."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobsup.config import durations, sizes


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("1h30m", 5400),
        ("500ms", 0.5),
        ("2d", 172_800),
        ("1w", 604_800),
        ("1.5s", 1.5),
        ("1h 30m", 5400),
        (" 0s ", 0),
        ("250us", 0.00025),
    ],
)
def test_a_duration_is_read_with_its_units(text: str, seconds: float) -> None:
    assert durations.parse(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("30", '"30" has no unit: write "30s" for seconds'),
        ("", '"" is not a duration'),
        ("fast", '"fast" is not a duration: write it like "30s"'),
        ("-5s", '"-5s" is not a duration'),
        ("1m1h", "from large to small"),
        ("1s1s", "once each"),
        ("5 parsecs", '"5 parsecs" is not a duration'),
        ("0.1us", "finer than a microsecond"),
        ("99999999w", "longer than the 36525 days allowed"),
        ("none", '"none" is not a duration'),
        ("9" * 5000 + "s", "too long"),
        ("٣s", "is not a duration"),
    ],
)
def test_a_text_that_is_no_duration_is_refused_with_the_text(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        durations.parse(text)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_none_is_a_duration_only_where_it_is_allowed() -> None:
    assert durations.parse_or_none("none") is None
    assert durations.parse_or_none("5s") == timedelta(seconds=5)
    assert durations.format_duration(None) == "none"


@pytest.mark.parametrize(("text", "seconds"), [("30", 30), ("0.5", 0.5), ("2m", 120)])
def test_a_plain_number_in_the_environment_is_seconds(text: str, seconds: float) -> None:
    assert durations.parse_environment(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("seconds", "text"), [(600, "10m"), (86_400 * 8, "8d"), (86_400 * 14, "2w"), (0.25, "250ms"), (0, "0s")]
)
def test_a_duration_is_written_as_a_person_would(seconds: float, text: str) -> None:
    assert durations.format_duration(timedelta(seconds=seconds)) == text


@given(st.timedeltas(min_value=timedelta(0), max_value=durations.DURATION_MAX))
def test_every_duration_survives_being_written_and_read(duration: timedelta) -> None:
    assert durations.parse(durations.format_duration(duration)) == duration


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused_as_a_duration_but_never_crashes(text: str) -> None:
    try:
        duration, refusal = durations.parse_environment(text), ""
    except ValueError as refused:
        duration, refusal = timedelta(0), str(refused)
    assert duration >= timedelta(0)
    assert not refusal or text.strip()[:20] in refusal


@pytest.mark.parametrize(
    ("text", "size"), [("64MiB", 64 << 20), ("1MB", 1_000_000), ("4096", 4096), ("1 kib", 1024), ("7B", 7)]
)
def test_a_size_is_read_with_its_unit(text: str, size: int) -> None:
    assert sizes.parse(text) == size


@pytest.mark.parametrize("text", ["", "1.5MiB", "-1", "12 parsecs", "MiB", "9" * 30, "999999TiB" + "0"])
def test_a_text_that_is_no_size_is_refused_with_the_text(text: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        sizes.parse(text)
    assert f'"{text}"' in str(caught.value)


@given(st.integers(min_value=0, max_value=sizes.SIZE_MAX))
def test_every_size_survives_being_written_and_read(size: int) -> None:
    assert sizes.parse(sizes.format_size(size)) == size
