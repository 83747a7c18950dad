"""`save` and `remove`: jobs that stand in no file, from a text to the database and back."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.test_stopped import folder, rows
from tests.support.command import forked as jobsup

__all__ = ["folder", "rows"]

JOB = '[[job]]\nname = "made"\ncommand = "true"\nevery = "1h"\n'


def test_a_job_is_made_exported_changed_and_removed(folder: Path, rows: object) -> None:
    looked = jobsup("save", "--dry-run", "-", cwd=folder, stdin=JOB)
    assert (looked.returncode, "would be saved" in looked.stderr) == (0, True), looked.stderr
    assert json.loads(jobsup("list", "--json", cwd=folder).stdout)["jobs"] == []
    assert jobsup("save", "-", cwd=folder, stdin=JOB).returncode == 0
    exported = jobsup("export", "made", cwd=folder).stdout
    (folder / "made.toml").write_text(exported.replace("1h", "2h"))
    changed = jobsup("save", "made.toml", "--json", cwd=folder)
    assert json.loads(changed.stdout)["changes"] == ["every 1h -> 2h"], changed.stderr
    (job,) = json.loads(jobsup("list", "--json", cwd=folder).stdout)["jobs"]
    assert (job["name"], job["origin"]) == ("made", "cli")
    assert jobsup("remove", "made", cwd=folder).stdout == "made: removed\n"
    assert jobsup("remove", "made", cwd=folder).returncode == 4


def test_what_is_wrong_ends_with_7_and_saves_nothing(folder: Path, rows: object) -> None:
    done = jobsup("save", "-", cwd=folder, stdin=JOB.replace("1h", "often"))
    assert done.returncode == 7
    assert "every" in done.stderr
    assert json.loads(jobsup("list", "--json", cwd=folder).stdout)["jobs"] == []
