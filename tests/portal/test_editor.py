"""The editor: form and TOML made from each other, looked at before it counts, saved by those who may."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobsup.config.settings import PortalSettings
from jobsup.model import JobKind, JobSpec, Origin, Role, ScheduleSpec
from jobsup.portal.views import editor
from jobsup.store import audit, keeping
from jobsup.store.engine import Database
from jobsup.store.jobs import get_job
from tests.support.pages import Browser, browser
from tests.support.store import add_job, job_spec

TEXT = '[[job]]\nname = "made"\ncommand = "true"\ncron = "30 2 * * *"\ntimezone = "Europe/Berlin"\n'
PLAIN = JobSpec("", JobKind.COMMAND)


@pytest.fixture
def author(db: Database, tmp_path: Path) -> Iterator[Browser]:
    """An author who may say what runs."""
    with browser(db, tmp_path, Role.AUTHOR, PortalSettings(allow_edit_commands=True)) as visit:
        yield visit


def make(db: Database, **more: object) -> None:
    keeping.save(db, job_spec("made", **more), origin=Origin.PORTAL, set_name="default", replaces=None)


def text_in(page: str) -> str:
    """Return what the TOML pane holds."""
    found = re.search(r'<textarea id="e-toml"[^>]*>(.*?)</textarea>', page, re.DOTALL)
    assert found is not None
    return html.unescape(found[1]).removeprefix("\n")


def test_a_job_is_made_looked_at_and_saved_with_an_audit(db: Database, author: Browser) -> None:
    assert "Save the job" in author.text("/jobs/new")
    looked = author.post("/jobs/look", job="", text=TEXT, edited="toml").text
    assert "02:30" in looked
    assert "CEST" in looked or "CET" in looked
    answer = author.post("/jobs/save", job="", text=TEXT)
    assert answer.headers["location"] == "/jobs/made"
    made = get_job(db, "made")
    assert (made.origin, made.spec.schedule.cron) == (Origin.PORTAL, "30 2 * * *")
    (entry,) = audit.entries(db, verb="job.save")
    assert (entry.subject, entry.detail["after"]["command"], entry.detail["before"]) == ("made", "true", {})


def test_the_forms_fields_are_written_into_the_toml_and_the_rest_of_it_stays(author: Browser) -> None:
    given = editor.fields_of(editor.parse(TEXT + '[job.params.day]\ntype = "string"\n') or {})
    given |= {"schedule": "every", "schedule_text": "90s", "tags": "a, b", "max_retries": "2", "timeout": "1h"}
    given |= {"work_text": '["tar", "-c", "x y"]', "enabled": "no"}
    page = author.post("/jobs/look", job="", text=TEXT + "[job.params]\nday = 1\n", edited="form", **given).text
    table = editor.parse(text_in(page))
    assert table == {
        "name": "made",
        "command": ["tar", "-c", "x y"],
        "every": "90s",
        "timezone": "Europe/Berlin",
        "tags": ["a", "b"],
        "max_retries": 2,
        "timeout": "1h",
        "enabled": False,
        "params": {"day": 1},
    }


def test_the_toml_is_shown_in_the_forms_fields(author: Browser) -> None:
    page = author.post("/jobs/look", job="", text=TEXT.replace("cron", "on_calendar"), edited="toml").text
    assert '<option value="on_calendar" selected>' in page
    assert 'name="schedule_text" value="30 2 * * *"' in page


@pytest.mark.parametrize(
    ("text", "told"),
    [("[[job]\n", "not valid TOML"), (TEXT + "crno = 1\n", "unknown key"), (TEXT.replace("30 2", "61 2"), "minute")],
)
def test_what_is_wrong_is_told_with_its_line_and_cannot_be_saved(
    db: Database, author: Browser, text: str, told: str
) -> None:
    page = author.post("/jobs/look", job="", text=text, edited="toml").text
    assert told in page
    assert "Save the job" not in page
    answer = author.post("/jobs/save", job="", text=text)
    assert answer.status_code == 422
    assert text_in(answer.text) == text  # nothing that was written is lost
    assert audit.entries(db, verb="job.save")[0].outcome == audit.REFUSED


def test_a_change_is_shown_line_by_line_before_it_is_saved(db: Database, author: Browser) -> None:
    make(db, schedule=ScheduleSpec(cron="0 3 * * *"))
    text = text_in(author.text("/jobs/made/edit"))
    later = text.replace("0 3", "0 4")
    page = author.post("/jobs/look", job="made", text=later, edited="toml").text
    assert re.search(r'class="minus">- cron = &#34;0 3', page)
    assert re.search(r'class="plus">\+ cron = &#34;0 4', page)
    stale = author.post("/jobs/save", job="made", text=later, replaces="0" * 16)
    assert stale.status_code == 409
    assert "changed meanwhile" in stale.text
    author.post("/jobs/save", job="made", text=later, replaces=get_job(db, "made").config_hash)
    assert get_job(db, "made").spec.schedule.cron == "0 4 * * *"
    assert audit.entries(db, verb="job.save")[0].detail["before"]["schedule"]["cron"] == "0 3 * * *"


def test_values_of_env_are_not_shown_and_are_kept(db: Database, author: Browser) -> None:
    make(db, env={"TOKEN": "s3cret", "MODE": "fast"})
    page = author.text("/jobs/made/edit")
    assert "s3cret" not in page
    changed = text_in(page).replace('MODE = "***"', 'MODE = "slow"')
    looked = author.post("/jobs/look", job="made", text=changed, edited="toml").text
    assert "s3cret" not in looked
    author.post("/jobs/save", job="made", text=changed, replaces=get_job(db, "made").config_hash)
    assert get_job(db, "made").spec.env == {"TOKEN": "s3cret", "MODE": "slow"}
    assert "s3cret" not in str(audit.entries(db, verb="job.save")[0].detail)


def test_a_copy_asks_for_the_values_that_are_not_shown(db: Database, author: Browser) -> None:
    make(db, env={"TOKEN": "s3cret"})
    text = text_in(author.text("/jobs/new?like=made"))
    assert 'name = "made-copy"' in text
    assert "env.TOKEN" in author.text("/jobs/new?like=made")
    assert author.post("/jobs/save", job="", text=text).status_code == 422
    assert author.post("/jobs/save", job="", text=text.replace("***", "new")).status_code == 303
    assert get_job(db, "made-copy").spec.env == {"TOKEN": "new"}


def test_a_files_job_is_shown_with_the_lines_to_take_over_and_not_saved(db: Database, author: Browser) -> None:
    add_job(db, "filed")
    text = text_in(author.text("/jobs/filed/edit"))
    page = author.post("/jobs/look", job="filed", text=text + 'timeout = "2h"\n', edited="toml").text
    assert 'class="plus">+ timeout = &#34;2h' in page
    assert "jobsup reload" in page
    assert "Save the change" not in page
    assert author.post("/jobs/save", job="filed", text=text + 'timeout = "2h"\n').status_code == 409


def test_without_the_setting_an_author_changes_all_but_what_runs(db: Database, tmp_path: Path) -> None:
    make(db)
    with browser(db, tmp_path, Role.AUTHOR) as visit:
        assert "allow_edit_commands = true" in visit.text("/jobs/new")
        assert visit.post("/jobs/save", job="", text=TEXT.replace("made", "new")).status_code == 403
        text, known = text_in(visit.text("/jobs/made/edit")), get_job(db, "made").config_hash
        evil = text.replace('command = "true"', 'command = "rm -rf /"')
        assert visit.post("/jobs/save", job="made", text=evil, replaces=known).status_code == 403
        assert visit.post("/jobs/save", job="made", text=text + 'timeout = "2h"\n', replaces=known).status_code == 303
    assert get_job(db, "made").spec.command == "true"


def test_a_job_is_removed_when_its_name_is_typed(db: Database, author: Browser) -> None:
    make(db)
    assert author.post("/jobs/made/remove", typed="mad").status_code == 400
    assert author.post("/jobs/made/remove", typed="made").headers["location"] == "/jobs"
    assert get_job(db, "made").retired_at is not None
    assert "Remove…" not in author.text("/jobs/made")


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
def test_only_authors_are_offered_the_editor(db: Database, tmp_path: Path, role: Role) -> None:
    make(db)
    with browser(db, tmp_path, role) as visit:
        assert "/jobs/new" not in visit.text("/jobs")
        assert "/edit" not in visit.text("/jobs/made")
        assert visit.get("/jobs/made/edit").status_code == 403


@pytest.mark.parametrize(
    "spec",
    [
        job_spec("a", command=("tar", "-c", "x y"), params=(), tags=("x",)),
        job_spec("a", schedule=ScheduleSpec(cron="0 3 * * *", also=(ScheduleSpec(on_calendar="Mon 02:30"),))),
        job_spec("a", python="m:f", kwargs={"n": {"deep": [1, "two"]}}),
    ],
    ids=["argv", "two schedules", "callable"],
)
def test_a_form_sent_back_as_it_is_changes_nothing(spec: JobSpec) -> None:
    table = editor.parse(editor.text_of(spec, PLAIN)) or {}
    assert editor.with_fields(table, editor.fields_of(table)) == table
