"""The pages as a browser gets them: what they show, what their forms do, and that nothing a job says is markup."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from jobsup.model import On, ParamSpec, Role, ScheduleSpec, Source, Status
from jobsup.store import audit, overview
from jobsup.store.engine import Database
from jobsup.store.jobs import get_job
from tests.support.clock import FakeClock
from tests.support.pages import Browser, browser
from tests.support.store import add_chunk, add_dispatch, add_job, add_log, add_worker

SCRIPTS = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'-alert(1)-'",
    "</li></ol><svg/onload=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:alert(1)",
    "\x1b[31m<b>red</b>\x1b]8;;javascript:alert(1)\x07link\x1b]8;;\x07",
)


@pytest.fixture
def visit(db: Database, tmp_path: Path) -> Iterator[Browser]:
    with browser(db, tmp_path) as opened:
        yield opened


def test_an_empty_install_says_how_to_begin_on_every_page(visit: Browser) -> None:
    assert "jobsup import crontab" in visit.text("/")
    for path in ("/jobs", "/runs", "/workers", "/timeline"):
        assert 'class="empty"' in visit.text(path)


def test_whatever_is_refused_on_the_way_is_a_page_too(visit: Browser) -> None:
    told = {
        404: visit.get("/nowhere"),
        405: visit.post("/timeline"),
        413: visit.post("/jobs/bulk", reason="x" * (1 << 21)),
    }
    for status, answer in told.items():
        assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
        assert "<h1>" in answer.text
    assert told[405].headers["allow"] == "GET, HEAD"
    assert visit.get("/jobs", headers={"Host": "elsewhere"}).headers["content-type"].startswith("text/plain")


def test_a_run_of_a_job_of_each_host_leads_to_all_of_them_and_one_host_can_be_chosen(
    db: Database, visit: Browser
) -> None:
    for number, node in enumerate(("db1", "db2")):
        add_worker(db, f"worker-{number}", node=node)
    add_job(db, "everywhere", on=On.EACH)
    assert "every host that can" in visit.text("/jobs/everywhere/run")
    assert visit.post("/jobs/everywhere/run").headers["location"] == "/jobs/everywhere/runs"
    assert {run.target for run in overview.runs(db)} == {"db1", "db2"}
    assert visit.post("/jobs/everywhere/run", on="db1").headers["location"].startswith("/runs/")
    assert overview.runs(db)[0].target == "db1"
    assert visit.post("/jobs/everywhere/run", on="db9").status_code == 404


def test_the_first_page_tells_what_fails_since_when_and_what_is_late(
    db: Database, clock: FakeClock, visit: Browser
) -> None:
    job = add_job(db, "backup", next_run=clock.now() - timedelta(minutes=5), schedule=ScheduleSpec(cron="0 3 * * *"))
    add_dispatch(db, job, Status.FAILED, error_message="disk full")
    add_dispatch(db, job, Status.FAILED, error_message="disk still full")
    page = visit.text("/")
    assert "Needs attention" in page
    assert "disk still full" in page
    assert "× 2" in page
    assert "not dispatched yet" in page


def test_a_failed_run_whose_retry_waits_is_gone_on_with_from_every_page(
    db: Database, clock: FakeClock, visit: Browser
) -> None:
    job = add_job(db, "backup")
    failed = add_dispatch(db, job, Status.FAILED, completed_at=clock.now())
    shape = {"source": Source.RETRY, "retry_of": failed, "available_at": clock.now() + timedelta(hours=1)}
    waiting = add_dispatch(db, job, Status.PENDING, **shape)
    assert f'action="/runs/{failed}/retry"' in visit.text("/")
    assert "Start now" in visit.text(f"/runs/{waiting}")
    assert visit.post(f"/runs/{failed}/retry").headers["location"] == f"/runs/{waiting}"
    assert "Start now" not in visit.text(f"/runs/{waiting}")
    (row, *_) = audit.entries(db)
    assert (row.verb, row.subject, row.outcome) == ("run.retry", str(failed), "done")


def test_jobs_are_filtered_by_the_address(db: Database, visit: Browser) -> None:
    add_dispatch(db, add_job(db, "backup", tags=("nightly",)), Status.FAILED)
    add_dispatch(db, add_job(db, "report"), Status.COMPLETED)
    assert all(name in visit.text("/jobs") for name in ("backup", "report"))
    for query in ("state=failing", "tag=nightly", "q=BACK"):
        page = visit.text(f"/jobs?{query}")
        assert "/jobs/backup" in page
        assert "/jobs/report" not in page


def test_jobs_are_paged_by_name(db: Database, visit: Browser) -> None:
    for number in range(60):
        add_job(db, f"job-{number:03}")
    assert "after=job-049" in visit.text("/jobs")
    second = visit.text("/jobs?after=job-049")
    assert "/jobs/job-050" in second
    assert "/jobs/job-049" not in second


@pytest.mark.parametrize("part", ["", "/slots", "/runs", "/config", "/audit", "/run"])
def test_each_part_of_a_job_is_shown(db: Database, visit: Browser, part: str) -> None:
    job = add_job(db, "backup", schedule=ScheduleSpec(cron="0 3 * * *"), description="all the data")
    add_dispatch(db, job, Status.SKIPPED, scheduled_for=db.now(), skipped_until=db.now(), skipped_count=3)
    page = visit.text(f"/jobs/backup{part}")
    assert "all the data" in page
    if part == "/slots":
        assert "× 3 ticks" in page
        assert "an earlier run was still going" in page


def test_a_job_that_is_not_there_is_told_with_the_nearest_name(db: Database, visit: Browser) -> None:
    add_job(db, "backup")
    answer = visit.get("/jobs/bakup")
    assert answer.status_code == 404
    assert "backup" in answer.text


def test_run_now_makes_a_run_and_leads_to_it_and_is_audited(db: Database, visit: Browser) -> None:
    add_job(db, "backup")
    answer = visit.post("/jobs/backup/run", reason="asked by ann")
    assert answer.status_code == 303
    (made,) = overview.runs(db)
    assert answer.headers["location"] == f"/runs/{made.id}"
    assert made.requested_by == "operator-user@portal (asked by ann)"
    assert [entry.verb for entry in audit.entries(db, subject="backup")] == ["job.run"]


def test_parameters_are_typed_and_what_is_wrong_comes_back_with_what_was_typed(db: Database, visit: Browser) -> None:
    add_job(db, "load", params=(ParamSpec("day", "string", required=True), ParamSpec("count", "integer", default=3)))
    assert 'type="number"' in visit.text("/jobs/load/run")
    wrong = visit.post("/jobs/load/run", **{"param.count": "many", "param.day": "monday"})
    assert wrong.status_code == 422
    assert "must be a whole number" in wrong.text
    assert 'value="monday"' in wrong.text
    assert visit.post("/jobs/load/run", **{"param.count": "7", "param.day": "monday"}).status_code == 303
    assert overview.runs(db)[0].params == {"count": 7, "day": "monday"}


def test_a_job_is_paused_with_a_reason_and_resumed(db: Database, visit: Browser) -> None:
    add_job(db, "backup")
    assert visit.post("/jobs/backup/pause", **{"reason": "disk full", "for": "2h"}).status_code == 303
    facts = get_job(db, "backup")
    assert facts.paused_reason == "disk full"
    assert facts.paused_until == db.now() + timedelta(hours=2)
    assert "disk full" in visit.text("/jobs/backup")
    assert visit.post("/jobs/backup/resume").status_code == 303
    assert get_job(db, "backup").paused_at is None


def test_ticked_jobs_are_paused_and_run_together(db: Database, visit: Browser) -> None:
    for name in ("one", "two", "three"):
        add_job(db, name)
    visit.post("/jobs/bulk", name=["one", "two"], verb="pause", reason="holiday")
    assert [name for name in ("one", "two", "three") if get_job(db, name).paused_at] == ["one", "two"]
    visit.post("/jobs/bulk", name=["three", "one"], verb="run")
    assert [run.job for run in overview.runs(db)] == ["three"]  # a paused job refuses; the others are not held up


def test_ticked_runs_are_retried_together(db: Database, visit: Browser) -> None:
    job = add_job(db, "backup")
    first, second = add_dispatch(db, job, Status.FAILED), add_dispatch(db, job, Status.FAILED)
    visit.post("/runs/bulk", id=[str(first), str(second)], verb="retry")
    assert {run.retry_of for run in overview.runs(db)} >= {first, second}


def test_a_run_is_cancelled_and_retried_from_its_page(db: Database, visit: Browser) -> None:
    run = add_dispatch(db, add_job(db, "backup"), Status.PENDING)
    assert "jobsup cancel" in visit.text(f"/runs/{run}")
    visit.post(f"/runs/{run}/cancel")
    assert overview.runs(db)[0].status is Status.CANCELLED
    assert "jobsup retry" in visit.text(f"/runs/{run}")
    assert visit.post(f"/runs/{run}/retry").headers["location"] == f"/runs/{run + 1}"


def test_a_viewer_sees_no_button_and_may_not_act(db: Database, tmp_path: Path) -> None:
    add_job(db, "backup")
    with browser(db, tmp_path, Role.VIEWER) as visit:
        for path in ("/jobs", "/jobs/backup"):
            assert "Run now" not in visit.text(path)
        assert visit.post("/jobs/backup/run").status_code == 403
    assert overview.runs(db) == []


def test_output_is_shown_by_lines_with_errors_marked_and_colours(db: Database, visit: Browser) -> None:
    run = add_dispatch(db, add_job(db), Status.COMPLETED)
    add_log(db, run, b"plain\n\x1b[1;31mred\x1b[0m\noops\n", stream_marks=[[21, 1], [5, 2]])
    page = visit.text(f"/runs/{run}")
    assert '<li id="p0">plain</li>' in page
    assert '<span class="b f1">red</span>' in page
    assert 'class="err-line"><span class="err">oops</span>' in page
    assert "\x1b" not in page


def test_a_long_output_opens_at_its_end_and_leads_back_to_its_beginning(db: Database, visit: Browser) -> None:
    run = add_dispatch(db, add_job(db), Status.COMPLETED)
    lines = [b"line %06d" % number for number in range(40_000)]
    add_log(db, run, b"\n".join(lines) + b"\n")
    seen: list[str] = []
    page = visit.text(f"/runs/{run}")
    assert "line 039999" in page
    assert len(page) < 150_000
    place: int | None = 0
    while place is not None:
        page = visit.text(f"/runs/{run}?at={place}")
        seen += lines_of(page)
        later = page.split(">later →<")[0].rsplit("?at=", 1)[1].split("#")[0] if ">later →<" in page else None
        place = int(later) if later is not None else None
    assert seen == [line.decode() for line in lines]


def lines_of(page: str) -> list[str]:
    """Return the plain lines of a page's log."""
    rows = page.split('<div class="log" id="output"')[1].split("</ol>", maxsplit=1)[0].split("<li id=")[1:]
    return [row.split(">", 1)[1].removesuffix("</li>") for row in rows]


def test_what_was_dropped_is_told_between_head_and_tail(db: Database, visit: Browser) -> None:
    run = add_dispatch(db, add_job(db), Status.COMPLETED)
    add_log(db, run, b"head\ntail\n", output_bytes=1_000_010, output_dropped=1_000_000, output_gap_at=5)
    assert "1000000 bytes are not kept" in visit.text(f"/runs/{run}")
    raw = visit.get(f"/runs/{run}/output")
    assert (raw.content, raw.headers["x-output-dropped"]) == (b"head\ntail\n", "1000000")


def test_output_is_searched_on_the_server(db: Database, visit: Browser) -> None:
    run = add_dispatch(db, add_job(db), Status.COMPLETED)
    add_log(db, run, b"".join(b"line %d\n" % number for number in range(100_000)) + b"Needle <here>\n")
    page = visit.text(f"/runs/{run}?q=needle")
    assert "1 lines hold" in page
    assert "Needle &lt;here&gt;" in page


def test_the_download_has_the_exact_bytes(db: Database, visit: Browser) -> None:
    run = add_dispatch(db, add_job(db), Status.COMPLETED)
    data = bytes(range(256)) * 10_000
    add_log(db, run, data)
    answer = visit.get(f"/runs/{run}/output")
    assert answer.content == data
    assert answer.headers["content-type"] == "application/octet-stream"
    assert "attachment" in answer.headers["content-disposition"]


def test_the_stream_tells_each_byte_once_and_goes_on_from_an_events_id(db: Database, visit: Browser) -> None:
    run = add_dispatch(db, add_job(db), Status.COMPLETED)
    add_log(db, run, "\x1b[32mgreen\nstill grün\n".encode())
    whole = events_of(visit.get(f"/runs/{run}/follow").text)
    assert whole[-1] == ("end", "", "COMPLETED")
    assert [token for token in whole[0][2] if token[0] == "t"] == [["t", "green", "f2"], ["t", "still grün", "f2"]]
    again = events_of(visit.get(f"/runs/{run}/follow", headers={"Last-Event-ID": "11;f2"}).text)
    assert again[0][2] == [["t", "still grün", "f2"], ["n", 23]]
    assert events_of(visit.get(f"/runs/{run}/follow", headers={"Last-Event-ID": whole[0][1]}).text)[0][0] == "end"


def events_of(stream: str) -> list[tuple[str, str, object]]:
    """Return (event, id, data) of each message."""
    found = []
    for block in stream.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line and not line.startswith(":"))
        if "data" in fields:
            found.append((fields.get("event", ""), fields.get("id", ""), json.loads(fields["data"])))
    return found


def test_a_live_run_says_where_its_stream_begins(db: Database, visit: Browser) -> None:
    run = add_dispatch(db, add_job(db), Status.IN_PROGRESS)
    add_chunk(db, run, 0, b"whole\nhalf")
    page = visit.text(f"/runs/{run}")
    assert f'data-follow="/runs/{run}/follow" data-from="10;" data-open="yes"' in page


def test_workers_are_shown_by_host_with_what_they_do(db: Database, visit: Browser) -> None:
    add_worker(db, "worker-aaaaa", node="alpha", tags=["host:alpha", "gpu"])
    add_worker(db, "worker-bbbbb", node="beta", last_heartbeat=db.now() - timedelta(minutes=5))
    add_dispatch(db, add_job(db, "backup"), Status.IN_PROGRESS, worker_id="worker-aaaaa")
    page = visit.text("/workers")
    assert all(word in page for word in ("alpha", "beta", "silent", "backup", "No scheduler leads"))
    assert '<span class="tag">gpu</span>' in page
    assert "host:alpha" not in page


def test_a_run_of_one_host_says_so_in_lists_and_on_its_page(db: Database, visit: Browser) -> None:
    run = add_dispatch(db, add_job(db, "tidy", on=On.EACH), target="alpha")
    assert '<span class="dim">on alpha</span>' in visit.text("/runs")
    page = visit.text(f"/runs/{run}")
    assert "<dt>Host</dt><dd>alpha" in page
    assert "waits for a worker: no worker is running" in page


def test_the_timeline_draws_runs_and_what_is_due(db: Database, clock: FakeClock, visit: Browser) -> None:
    due = clock.now() + timedelta(minutes=10)
    job = add_job(db, "backup", next_run=due, schedule=ScheduleSpec(cron="*/10 * * * *"))
    run = add_dispatch(db, job, Status.FAILED)
    page = visit.text("/timeline?span=1h")
    assert f'href="/runs/{run}"><rect class="m-failed"' in page
    assert page.count('class="m-future"') >= 1


def test_a_page_that_has_not_changed_is_not_sent_again(db: Database, visit: Browser) -> None:
    job = add_job(db, "backup")
    tag = visit.get("/jobs").headers["etag"]
    assert visit.get("/jobs", headers={"If-None-Match": tag}).status_code == 304
    add_dispatch(db, job, Status.FAILED)
    assert visit.get("/jobs", headers={"If-None-Match": tag}).status_code == 200


@pytest.mark.parametrize("text", SCRIPTS)
def test_nothing_that_a_job_or_a_person_wrote_becomes_markup(db: Database, visit: Browser, text: str) -> None:
    # A job's name cannot hold it; everything else of it can.
    job = add_job(
        db,
        "backup",
        description=text,
        tags=(text,),
        env={"A": text},
        command=text,
        schedule=ScheduleSpec(cron="0 3 * * *"),
        row={"paused_at": db.now(), "paused_by": text, "paused_reason": text},
        params=(ParamSpec("p", "string", default=text, description=text, choices=(text,)),),
    )
    row = {"error_message": text, "requested_by": text, "params": {"p": text}, "note": text}
    failed = add_dispatch(db, job, Status.FAILED, **row)
    add_log(db, failed, text.encode() + b"\n", result=json.dumps(text), host=text)
    add_dispatch(db, job, Status.SKIPPED, scheduled_for=db.now(), skipped_until=db.now(), skipped_count=1, **row)
    add_worker(db, node=text, queues=[text], version=text[:32])
    job_paths = [f"/jobs/backup{part}" for part in ("", "/slots", "/runs", "/config", "/audit", "/run")]
    paths = ["/", "/jobs", "/runs", "/workers", "/timeline", f"/runs/{failed}", f"/runs/{failed}?q=alert", *job_paths]
    for path in paths:
        page = visit.text(path)
        for sign in ("<script>alert", "<img src=x", "<svg/onload", "<b>red", 'href="javascript', "\x1b", "49{"):
            assert sign not in page, path


@pytest.mark.parametrize("path", ["/runs?before=x", "/runs?age=soon", "/runs/1?at=-1", f"/runs?after={'9' * 30}"])
def test_a_wrong_address_is_told_and_no_failure_of_ours(visit: Browser, path: str) -> None:
    assert visit.get(path).status_code in {400, 404, 422}


def test_a_run_that_is_not_there_is_not_found(visit: Browser) -> None:
    for path in ("/runs/99", "/runs/99/output", "/runs/99/follow", f"/runs/{'9' * 30}"):
        assert visit.get(path).status_code == 404
