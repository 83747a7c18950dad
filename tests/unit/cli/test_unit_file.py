"""The systemd unit: one text, shipped and printed, that systemd takes without a word."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from jobsup.cli.unit import Unit, word

SHIPPED = Path(__file__).parents[3] / "config" / "systemd" / "jobsup.service"


def test_the_shipped_unit_is_the_printed_one_with_default_paths() -> None:
    assert SHIPPED.read_text() == Unit().text()


def test_the_unit_keeps_what_the_supervisor_relies_on() -> None:
    lines = Unit().text().splitlines()
    for line in (
        "Type=notify",
        "NotifyAccess=main",
        "KillMode=mixed",
        "Restart=always",
        "RestartPreventExitStatus=2 7",
        "Delegate=yes",
        "OOMPolicy=continue",
        "WatchdogSec=30",
        "RuntimeDirectory=jobsup",
        "StateDirectory=jobsup",
    ):
        assert line in lines


def test_a_stop_may_take_longer_than_the_drain() -> None:
    assert "TimeoutStopSec=90" in Unit(stop_seconds=90).text().splitlines()


def test_another_user_gets_the_folder_root_looks_in() -> None:
    text = Unit(user="jobs", set_name="night").text()
    assert "User=jobs\nEnvironment=JOBSUP_SUPERVISOR_RUNTIME_DIR=/run/jobsup/night\n" in text


@pytest.mark.parametrize(
    ("text", "quoted"),
    [("/a/b", "/a/b"), ("/a b", '"/a b"'), ("100%", "100%%"), ('say "$x"', '"say \\"$$x\\""')],
)
def test_paths_are_quoted_as_systemd_reads_them(text: str, quoted: str) -> None:
    assert word(text) == quoted


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("user", [None, "daemon"])
def test_systemd_verifies_the_unit(tmp_path: Path, user: str | None) -> None:
    program = tmp_path / "a program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    file = tmp_path / "jobsup.service"
    file.write_text(Unit(program=str(program), config="/etc/a b%.toml", user=user).text())
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=yes", str(file)],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, "")
