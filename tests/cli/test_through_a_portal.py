"""The installed command through a portal far away: the same words, the same output, the same exit codes."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobsup.cli.main import VERBS
from tests.support.command import forked
from tests.support.instance import JOBSUP, Instance
from tests.support.waiting import PATIENCE, until

JOBS = """
[[job]]
name = "exits"
command = "echo out; echo err >&2; exit $JOBSUP_PARAM_CODE"
max_retries = 0
params = { code = 0 }

[[job]]
name = "second-time"
command = "echo attempt $JOBSUP_ATTEMPT; test $JOBSUP_ATTEMPT = 2"
max_retries = 1
retry_backoff = "10ms"

[[job]]
name = "talks"
command = "echo begin; while [ ! -e go ]; do sleep 0.02; done; printf 'b\\\\033[1me\\\\377ll\\\\n'; rm go"
cwd = "."
max_retries = 0

[[job]]
name = "long"
command = "echo started; exec sleep 60"
max_retries = 0
overlap = "allow"

[[job]]
name = "yearly"
description = "once"
command = "true"
cron = "0 0 1 1 *"
tags = ["rare"]
"""
PORTAL = "[portal]\nenabled = true\nallow_edit_commands = true\nport = {port}\n"


class Far:
    """An instance, and the way to it through its portal."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        self.instance = Instance("", workers=1)
        self.instance.settings += PORTAL.format(port=port)
        self.instance.write(JOBS)
        self.url = f"http://127.0.0.1:{port}"
        self.instance.start()
        self.token = self.instance.cli("token", "create", "all", "--scope", "admin").stdout.strip()

    def __call__(
        self, *words: str, token: str | None = None, text: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a verb from a folder in which there is no configuration."""
        environment = {"JOBSUP_URL": self.url, "JOBSUP_TOKEN": self.token if token is None else token}
        return forked(*words, cwd=Path("/"), env=environment, stdin=text)

    def here(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a verb on the machine itself."""
        return forked(*words, "-c", str(self.instance.config), cwd=self.instance.folder)


@pytest.fixture(scope="module")
def far() -> Iterator[Far]:
    opened = Far()
    yield opened
    opened.instance.close()


def test_a_wait_ends_as_the_job_does_and_output_comes_as_it_is_printed(far: Far) -> None:
    done = far("run", "exits", "-p", "code=7", "--follow", "--reason", "to see")
    assert (done.returncode, done.stdout) == (7, "out\nerr\n")
    assert "FAILED" in done.stderr
    again = far("run", "second-time", "--wait", "--json")
    told = json.loads(again.stdout)
    assert (again.returncode, told["retry_count"], told["last"]["retry_count"]) == (0, 0, 1)
    followed = far("run", "second-time", "-f")
    assert (followed.returncode, followed.stdout) == (0, "attempt 1\nattempt 2\n")
    row = far.instance.runs("exits")[-1]
    assert row["requested_by"] == "all@api (to see)"


def test_logs_follow_live_output_and_raw_bytes_are_the_very_ones(far: Far) -> None:
    number = far("run", "talks").stdout.strip()
    follower = subprocess.Popen(
        [JOBSUP, "logs", "-f", "--raw", number, "--url", far.url, "--token", far.token],
        stdout=subprocess.PIPE,
        cwd="/",
        env=far.instance.environment(),
    )
    assert follower.stdout is not None
    assert follower.stdout.readline() == b"begin\n"
    (far.instance.folder / "go").touch()
    assert follower.communicate(timeout=PATIENCE)[0] == b"b\x1b[1me\xffll\n"
    assert far("logs", number).stdout == "begin\nbe�ll\n"
    assert far("logs", "--tail", "1", "talks").stdout == "be�ll\n"


def test_runs_are_cancelled_and_retried_from_afar(far: Far) -> None:
    number = far("run", "long").stdout.strip()
    far.instance.wait_run("long", "IN_PROGRESS", PATIENCE)
    done = far("cancel", number)
    assert (done.returncode, done.stdout) == (0, f"run {number}: being cancelled\n")
    far.instance.wait_run("long", "CANCELLED", PATIENCE)
    again = far("retry", number)
    assert again.returncode == 0
    assert far("retry", number).returncode == 6
    far.instance.wait_run("long", "IN_PROGRESS", PATIENCE)
    assert far("cancel", again.stdout.strip(), "999999").returncode == 4


def test_jobs_are_paused_saved_and_removed_and_the_audit_tells_who(far: Far) -> None:
    paused = far("pause", "yearly", "--reason", "disk")
    assert (paused.returncode, "paused by all@api" in paused.stdout) == (0, True)
    assert far("run", "yearly").returncode == 6
    assert far("resume", "--tag", "rare").stdout == "yearly: resumed\n"
    toml = '[[job]]\nname = "made"\ncommand = "true"\n'
    assert far("save", "--dry-run", "-", text=toml).returncode == 0
    assert far("save", "-", text=toml).returncode == 0
    assert far("save", "-", text="[[job]]\nname = 1\n").returncode == 7
    assert far("remove", "made").stdout == "made: removed\n"
    told = [
        (row["actor"], row["origin"], row["address"], row["verb"])
        for row in json.loads(far("audit", "--json").stdout)["audit"]
        if row["verb"] in ("job.pause", "job.remove")
    ]
    assert told == [("all", "api", "127.0.0.1", "job.remove"), ("all", "api", "127.0.0.1", "job.pause")]


def test_history_far_away_is_counted_and_deleted(far: Far) -> None:
    assert far("db", "prune", "--older-than", "90d").stdout == "0 runs deleted\n"
    counted = json.loads(far("db", "prune", "--older-than", "90d", "--dry-run", "--json").stdout)
    assert (counted["deleted"], counted["left"]) == (0, 0)
    (told, *_) = json.loads(far("audit", "--json", "--verb", "runs.prune").stdout)["audit"]
    assert (told["subject"], told["origin"]) == ("older than 90d", "api")


def test_the_supervisor_far_away_scales_and_reloads(far: Far) -> None:
    assert far("scale", "workers=2").returncode == 0
    until(lambda: len(far.instance.children("worker")) == 2, PATIENCE, "a second worker")
    far.instance.write(JOBS + '\n[[job]]\nname = "added"\ncommand = "true"\n')
    looked = far("reload", "--dry-run")
    assert (looked.returncode, "added" in looked.stdout) == (0, True)
    assert far("reload").returncode == 0
    assert far("show", "added").returncode == 0
    far.instance.write(JOBS + '\n[[job]]\nname = "added"\ncommand = 5\n')
    wrong = far("reload")
    assert (wrong.returncode, "command" in wrong.stderr) == (7, True)
    far.instance.write(JOBS)
    assert far("reload").returncode == 0


def test_users_and_tokens_are_kept_from_afar(far: Far) -> None:
    assert far("user", "add", "ann", "--role", "operator", text="seven horses in a row\n").returncode == 0
    assert far("user", "role", "ann", "viewer").returncode == 0
    reader = far("token", "create", "reader", "--scope", "viewer").stdout.strip()
    assert far("list", token=reader).returncode == 0
    refused = far("run", "exits", token=reader)
    assert (refused.returncode, "scope" in refused.stderr) == (5, True)
    assert far("token", "revoke", "reader").returncode == 0
    assert far("list", token=reader).returncode == 5
    assert far("user", "rm", "ann").returncode == 0


READS = (
    ("list",),
    ("list", "--json"),
    ("list", "--tag", "rare"),
    ("show", "exits"),
    ("show", "yearly", "--json"),
    ("next", "-n", "3"),
    ("next", "yearly", "--json"),
    ("why", "exits"),
    ("why", "1", "--json"),
    ("why", "yearly", "--at", "2020-01-01T00:00:00Z"),
    ("runs",),
    ("runs", "exits", "--status", "FAILED", "--json"),
    ("runs", "--since", "1h", "--last", "2"),
    ("logs", "exits"),
    ("forecast", "--days", "1"),
    ("forecast", "yearly", "--json"),
    ("audit", "--actor", "all"),
    ("user", "list"),
    ("token", "list", "--json"),
    ("config", "show"),
    ("config", "show", "portal", "--json"),
    ("config", "show", "nothing"),
    ("export",),
    ("export", "--shared", "yearly", "exits"),
    ("export", "yearly", "--crontab"),
    ("export", "yealry"),
    ("backfill", "yearly", "--from", "2026-01-01T00:00:00Z", "--to", "2026-01-02T00:00:00Z", "--dry-run"),
    ("show", "exit"),
    ("why", "77777"),
    ("runs", "nobody"),
    ("logs", "yearly"),
    ("cancel", "1"),
    ("retry", "88888"),
    ("run", "exits", "-p", "code=x"),
    ("pause", "--tag", "nothing"),
)


@pytest.mark.parametrize("words", READS, ids=" ".join)
def test_the_answer_is_the_same_here_and_from_afar(far: Far, words: tuple[str, ...]) -> None:
    if not far.instance.runs("exits"):
        far("run", "exits", "--wait")
    here, there = far.here(*words), far(*words)
    if words[-1:] == ("--json",) and words[0] == "token":
        here_told, there_told = json.loads(here.stdout), json.loads(there.stdout)
        for told in (*here_told["tokens"], *there_told["tokens"]):
            told.pop("last_used_at")
        assert here_told == there_told
        return
    if words[0] == "forecast" and "--json" in words:
        assert json.loads(here.stdout).keys() == json.loads(there.stdout).keys()
        return
    assert (here.returncode, here.stdout, here.stderr) == (there.returncode, there.stdout, there.stderr)


def test_status_and_workers_tell_of_the_other_machine(far: Far) -> None:
    told = json.loads(far("status", "--json").stdout)
    assert (told["state"], told["supervisor"]["config"]) == ("running", str(far.instance.config))
    assert far("status").returncode == 0
    assert far("workers").returncode == 0
    assert far("portal").returncode == 2


LOCAL = ("start", "stop", "restart", "scheduler", "worker", "portal", "check", "db", "import")
MORE = {
    "db": ("check",),
    "import": ("crontab",),
}


@pytest.mark.parametrize("words", [(verb, *MORE.get(verb, ())) for verb in LOCAL] + [("config", "path")], ids=" ".join)
def test_what_makes_sense_only_on_the_machine_itself_says_so(far: Far, words: tuple[str, ...]) -> None:
    done = far(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"only on the machine itself, not through {far.url}" in done.stderr
    assert far.instance.process is not None
    assert far.instance.process.poll() is None


def test_every_verb_is_one_or_the_other() -> None:
    anywhere = {"init", "systemd", "completion", "version", "explain"}
    asked = {words[0] for words in READS} | {"status", "workers", "resume", "scale", "reload", "save", "remove"}
    assert set(LOCAL) | anywhere | asked == set(VERBS)


def test_what_cannot_be_reached_or_is_no_portal_ends_with_3(far: Far) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    gone = far("list", "--url", f"http://127.0.0.1:{port}")
    assert (gone.returncode, f"127.0.0.1:{port}" in gone.stderr) == (3, True)
    assert far("list", "--url", f"{far.url}/elsewhere").returncode == 4
    assert far("list", "--url", "ftp://x").returncode == 2
    assert far("list", "-c", "/nowhere.toml", "--url", far.url).returncode == 2
    assert far("list", token="wrong").returncode == 5
    bare = forked("list", "--url", far.url, cwd=Path("/"))
    assert (bare.returncode, "JOBSUP_TOKEN" in bare.stderr) == (2, True)


def test_plain_http_to_another_machine_warns_of_the_token(far: Far) -> None:
    done = far("list", "--url", "http://jobsup.invalid:1")
    assert (done.returncode, "can read the token" in done.stderr) == (3, True)
