"""Lines that tell how far a run is, wherever they stand and however they come."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobsup import current
from jobsup.model import Progress
from jobsup.worker.progress import LINE_BYTES_MAX, ProgressReader

LINE = b'{"jobsup": {"progress": 0.4, "text": "copying"}}\n'
TOLD = Progress(0.4, "copying")


def read(*pieces: bytes) -> Progress | None:
    """Return the last that a reader says of all the pieces."""
    reader = ProgressReader()
    last = None
    for piece in pieces:
        last = reader.read(piece) or last
    return last


def test_a_marked_line_tells_progress() -> None:
    assert read(LINE) == TOLD
    assert read(b"noise\n" + LINE + b"more noise\n") == TOLD
    assert read(b"no newline before it" + LINE) == TOLD
    assert read(b'{"jobsup": {"progress": 1}}\n') == Progress(1)
    assert read(b'{"jobsup":{"text":"waiting"}}\n') == Progress(None, "waiting")


def test_the_last_of_several_counts() -> None:
    assert read(b'{"jobsup": {"progress": 0.1}}\n' + LINE) == TOLD
    assert read(LINE + b'{"jobsup": {"pro') == TOLD


@given(cuts=st.lists(st.integers(0, len(LINE) + 20), max_size=6))
def test_it_may_come_in_any_pieces(cuts: list[int]) -> None:
    whole = b'x{{"jobs\n' + LINE + b'{"jobsup'
    at = [0, *sorted(cut for cut in cuts if cut <= len(whole)), len(whole)]
    assert read(*(whole[start:stop] for start, stop in itertools.pairwise(at))) == TOLD


@pytest.mark.parametrize(
    "line",
    [
        b'{"jobsup": 3}\n',
        b'{"jobsup": {}}\n',
        b'{"jobsup": {"progress": 2}}\n',
        b'{"jobsup": {"progress": -0.1}}\n',
        b'{"jobsup": {"progress": NaN}}\n',
        b'{"jobsup": {"progress": true}}\n',
        b'{"jobsup": {"progress": "half"}}\n',
        b'{"jobsup": {"progress": 0.5, "text": 7}}\n',
        b'{"jobsup": {"progress": 0.4}, \n',
        b'{"jobsup":' + b"[" * 2000 + b"\n",
        b'{"other": {"progress": 0.4}}\n',
    ],
)
def test_what_is_no_progress_is_none(line: bytes) -> None:
    assert read(line) is None


def test_a_line_without_end_takes_no_memory() -> None:
    reader = ProgressReader()
    reader.read(b'{"jobsup": {"text": "')
    for _ in range(100):
        assert reader.read(b"x" * LINE_BYTES_MAX) is None
    assert len(reader._rest) <= LINE_BYTES_MAX
    assert reader.read(b"\n" + LINE) == TOLD


def test_what_the_function_prints_is_what_the_reader_reads() -> None:
    assert read(current.progress_line(0.25, "päckchen \u2028")) == Progress(0.25, "päckchen \u2028")
    assert len(current.progress_line(1, "\U0001f600" * 10_000)) < 4096
    with pytest.raises(ValueError, match="between 0 and 1"):
        current.progress_line(40)


def python(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("JOBSUP_")}
    return subprocess.run(
        [sys.executable, "-c", program], env=kept | environment, capture_output=True, text=True, timeout=20, check=False
    )


def test_progress_stands_in_order_and_is_bounded() -> None:
    done = python(
        "import jobsup\nprint('before')\njobsup.progress(0.5)\nprint('after')\n"
        "for n in range(100_000): jobsup.progress(n / 100_000, 'row %d' % n)\njobsup.progress(1)"
    )
    lines = done.stdout.splitlines()
    assert lines[:3] == ["before", '{"jobsup": {"progress": 0.5}}', "after"]
    assert len(lines) < 100
    assert lines[-1] == '{"jobsup": {"progress": 1.0}}'


def test_progress_without_a_reader_ends_nothing() -> None:
    done = python("import os, jobsup\nos.close(1)\njobsup.progress(0.5)\nraise SystemExit(3)")
    assert (done.returncode, done.stderr) == (3, "")


def test_outside_of_a_run_there_is_none_and_it_says_what_to_do() -> None:
    done = python("import jobsup\njobsup.current_run()")
    assert "NoRunError" in done.stderr
    assert "was not started by jobsup (JOBSUP_RUN_ID is not set)" in done.stderr
    assert python("import jobsup\nprint(jobsup.current_run().id)", JOBSUP_RUN_ID="0").stdout == "0\n"


def test_it_costs_a_program_nothing_that_is_heavy() -> None:
    program = "import sys, json, jobsup\njobsup.current_run, jobsup.progress\nprint(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(python(program).stdout)
    assert not {"sqlalchemy", "pydantic", "click", "asyncio"} & set(loaded)
