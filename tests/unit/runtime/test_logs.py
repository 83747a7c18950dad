"""One line per record, whatever is in it, and a sink that fails disturbs nobody."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobsup.config.settings import LoggingSettings
from jobsup.events import emit
from jobsup.runtime import logs


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    level = logging.getLogger().level
    yield tmp_path / "log"
    logs.configure(LoggingSettings(), "test")
    handler, logs._current = logs._current, None
    assert handler is not None
    logging.getLogger().removeHandler(handler)
    logging.getLogger().setLevel(level)


def test_text_line_has_instant_level_child_and_pid(log: Path) -> None:
    logs.configure(LoggingSettings(file=str(log)), "worker-2")

    emit("dispatch.claimed", "Claimed job dispatch 7", dispatch_id=7)

    pattern = rf"\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{3}}Z INFO worker-2\[{os.getpid()}\] Claimed job dispatch 7\n"
    assert re.fullmatch(pattern, log.read_text())


def test_json_line_has_the_event_and_its_fields_and_no_field_can_fake_the_rest(log: Path) -> None:
    logs.configure(LoggingSettings(file=str(log), format="json"), "worker-2")

    emit("dispatch.claimed", "Claimed\njob", dispatch_id=7, path=Path("/x"), child="forged")

    line = json.loads(log.read_text())
    assert (line["event"], line["message"], line["dispatch_id"]) == ("dispatch.claimed", "Claimed\njob", 7)
    assert (line["child"], line["level"], line["pid"]) == ("worker-2", "INFO", os.getpid())
    assert line["path"] == "/x"


@pytest.mark.parametrize("text", ["a\nb", "a\r\nb", "\x1b[31mred", "\x85", "\u2028", "\x00", "\x7f", "a\x0bb"])
def test_text_that_would_break_or_colour_a_line_is_escaped(log: Path, text: str) -> None:
    logs.configure(LoggingSettings(file=str(log)), "child")

    emit("x", text)

    written = log.read_text()
    assert len(written.splitlines()) == 1
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in written.removesuffix("\n"))


def test_traceback_is_in_the_same_line(log: Path) -> None:
    logs.configure(LoggingSettings(file=str(log)), "child")
    try:
        int("broken")
    except ValueError:
        logging.getLogger("some.library").exception("it failed")

    (line,) = log.read_text().splitlines()
    assert "it failed\\nTraceback" in line
    assert line.endswith("'broken'")


def test_level_is_kept(log: Path) -> None:
    logs.configure(LoggingSettings(file=str(log), level="warning"), "child")

    emit("x", "not this")
    emit("x", "but this", level=logging.WARNING)

    assert "not this" not in log.read_text()
    assert "but this" in log.read_text()


def test_very_long_record_is_cut_and_says_so(log: Path) -> None:
    logs.configure(LoggingSettings(file=str(log)), "child")

    emit("x", "y" * (logs.LINE_CHARACTERS_MAX + 1000))

    assert log.stat().st_size < logs.LINE_CHARACTERS_MAX + 200
    assert "characters cut" in log.read_text()


def test_reopened_log_goes_on_in_a_new_file(log: Path) -> None:
    logs.configure(LoggingSettings(file=str(log)), "child")
    emit("x", "first")
    log.rename(log.with_name("moved"))

    logs.reopen()
    emit("x", "second")

    assert "first" in log.with_name("moved").read_text()
    assert "second" in log.read_text()
    assert "second" not in log.with_name("moved").read_text()


def test_log_that_cannot_be_reopened_goes_on_in_the_old_file(log: Path) -> None:
    log.parent.joinpath("folder").mkdir()
    path = log.parent / "folder" / "log"
    logs.configure(LoggingSettings(file=str(path)), "child")
    path.parent.rename(log.parent / "elsewhere")

    logs.reopen()

    assert "The log was not reopened" in (log.parent / "elsewhere" / "log").read_text()


def test_log_file_in_a_missing_folder_is_refused_with_what_to_do(log: Path) -> None:
    with pytest.raises(logs.LogFileError, match=r"change \[logging\] file"):
        logs.configure(LoggingSettings(file="/nonexistent/log"), "child")


@pytest.mark.parametrize("sink", ["/dev/full", "closed pipe"])
def test_full_disk_or_gone_reader_loses_lines_and_nothing_else(log: Path, sink: str) -> None:
    path = sink
    if sink == "closed pipe":
        os.mkfifo(log)
        reader = os.open(log, os.O_RDONLY | os.O_NONBLOCK)
        path = str(log)
    logs.configure(LoggingSettings(file=path), "child")
    if sink == "closed pipe":
        os.close(reader)

    emit("x", "lost")
    emit("x", "lost too")

    assert logs._current is not None
    assert logs._current.dropped == 2


def test_record_whose_arguments_do_not_fit_is_still_one_line(log: Path) -> None:
    logs.configure(LoggingSettings(file=str(log)), "child")
    assert logs._current is not None
    record = logging.LogRecord("library", logging.WARNING, __file__, 1, "%d\n", ("no number",), None)

    logs._current.emit(record)

    (line,) = log.read_text().splitlines()
    assert "log record '%d\\n' is broken" in line
