"""What is wrong in a configuration is said at once, in one line each, with file, line, table and key."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobsup.config import load as loader
from jobsup.config import source
from jobsup.config.load import load
from jobsup.errors import ConfigError
from tests.support.config_folder import Folder

JOB = '[[job]]\nname = "a"\ncommand = "true"\n'

SETTINGS = [
    ('[supervisor]\ncgroup = "jobs"', 'jobsup.toml:2: [supervisor] cgroup: must be "auto", "none" or a folder'),
    ("[wroker]\n", 'jobsup.toml:1: wroker: unknown table; did you mean "worker"?'),
    ("[worker]\ncuont = 4", 'jobsup.toml:2: [worker] cuont: unknown key; did you mean "count"?'),
    ("[worker]\nzzz = 4", "jobsup.toml:2: [worker] zzz: unknown key"),
    ("worker = 5", "jobsup.toml:1: [worker]: must be one table, [worker], not 5"),
    ("[[worker]]", "jobsup.toml:1: [worker]: must be one table, [worker], not [a table]"),
    ("[worker]\n\ncount = '4'", 'jobsup.toml:3: [worker] count: must be a whole number, not "4"'),
    ("[worker]\ncount = true", "jobsup.toml:2: [worker] count: must be a whole number, not true"),
    ("[worker]\ncount = 2000", "jobsup.toml:2: [worker] count: must be between 0 and 1024, not 2000"),
    ("worker.count = 1.5", "jobsup.toml:1: [worker] count: must be a whole number, not 1.5"),
    (
        "[worker]\npoll_interval = 30",
        'jobsup.toml:2: [worker] poll_interval: 30 has no unit: write "30s" for seconds',
    ),
    (
        '[worker]\npoll_interval = "30"',
        'jobsup.toml:2: [worker] poll_interval: "30" has no unit: write "30s" for seconds',
    ),
    (
        '[worker]\npoll_interval = "soon"',
        'jobsup.toml:2: [worker] poll_interval: "soon" is not a duration: write it like "30s", "1h30m" or "2d"',
    ),
    (
        '[worker]\npoll_interval = "2m"\nmax_poll_interval = "1m"',
        (
            "jobsup.toml:2: [worker] poll_interval: poll_interval 2m is longer than max_poll_interval 1m: "
            "swap or raise them"
        ),
    ),
    ('[worker]\nqueues = "a"', 'jobsup.toml:2: [worker] queues: must be a list in square brackets, not "a"'),
    (
        '[worker]\nqueues = ["a",\n "b c"]',
        (
            'jobsup.toml:3: [worker] queues[1]: "b c" is not a name: use 1 to 64 letters, digits, _ . and -, '
            "without . or - at the start"
        ),
    ),
    (
        '[logging]\nlevel = "LOUD"',
        'jobsup.toml:2: [logging] level: must be one of DEBUG, INFO, WARNING, ERROR, not "LOUD"',
    ),
    (
        '[database]\nsynchronous = "ful"',
        'jobsup.toml:2: [database] synchronous: must be one of full, normal, not "ful"; did you mean "full"?',
    ),
    (
        '[database]\nurl = "sqlite:///gone/x.db"',
        "jobsup.toml:2: [database] url: folder {here}/gone does not exist: create it with mkdir -p",
    ),
    ('[database]\nurl = "sqlite:///."', "jobsup.toml:2: [database] url: {here} is a folder: name a file in it"),
    (
        '[database]\nurl = "sqlite://"',
        (
            "jobsup.toml:2: [database] url: an in-memory database cannot be shared by processes: "
            'write "sqlite:///jobsup.db"'
        ),
    ),
    (
        '[database]\nurl = "sqlite://x.db"',
        'jobsup.toml:2: [database] url: a SQLite URL has three slashes: write "sqlite:///x.db"',
    ),
    (
        '[database]\nurl = "x.db"',
        'jobsup.toml:2: [database] url: "x.db" is not a database URL: write it like "sqlite:///jobsup.db"',
    ),
    (
        '[database]\nurl = "postgresq://h/d"',
        (
            'jobsup.toml:2: [database] url: "postgresq" is not a known database (sqlite, postgresql); '
            'did you mean "postgresql"?'
        ),
    ),
    ('[jobs]\nset = "../x"', 'jobsup.toml:2: [jobs] set: "../x" is not a name: use 1 to 64 letters'),
    ("[[jobs]]", "jobsup.toml:1: jobs: a job's table is written [[job]]"),
    ("[job]", "jobsup.toml:1: job: a job's table is written [[job]], with two brackets"),
    ("include = 5", 'jobsup.toml:1: include: must be a list of patterns like ["jobs.d/*.toml"], not 5'),
    ('[defaults]\nname = "x"', "jobsup.toml:2: [defaults] name: unknown key"),
    ('[defaults]\ncwd = "gone"', "jobsup.toml:2: [defaults] cwd: folder {here}/gone does not exist"),
    ('[worker]\npython_path = ["gone"]', "jobsup.toml:2: [worker] python_path: folder {here}/gone does not exist"),
    (
        "[a\n",
        "jobsup.toml:1: not valid TOML, column 3: Expected ']' at the end of a table declaration",
    ),
    ("x = ", "jobsup.toml:1: not valid TOML: Invalid value"),
    ("x = " + "[" * 5000, "jobsup.toml: is nested too deeply"),
    ("x = " + "9" * 5000, "jobsup.toml: not valid TOML: "),
]


@pytest.mark.parametrize(("text", "line"), SETTINGS)
def test_a_wrong_setting_is_one_line_with_its_place(folder: Folder, text: str, line: str) -> None:
    lines = folder.problems(text)
    assert len(lines) == 1
    assert lines[0].startswith(line.format(here=folder.path))


JOBS = [
    ('cron = "61 * * * *"', "cron: "),
    ('cron = "0 0 31 2 *"', "cron: "),
    ('every = "0s"', "every: must be between 1ms and 36525d, not "),
    ("every = 60", 'every: 60 has no unit: write "60s" for seconds'),
    ('cron = "0 3 * * *"\nevery = "1m"', "every: a job has one schedule, and cron is given too: drop one"),
    ('anchor = "2027-01-01"', "anchor: goes with every only"),
    ('at = "2027-02-30T03:00:00"', 'at: "2027-02-30T03:00:00" is not an instant like'),
    ("at = 5", 'at: must be an instant like "2027-01-31T03:00:00", not 5'),
    ('cron = "@daily"\ntimezone = "Europe/Berln"', 'timezone: unknown time zone "Europe/Berln"; did you mean'),
    ('timezone = "../etc/passwd"', "timezone: unknown time zone"),
    ('on_calendar = "Blursday"', "on_calendar: "),
    ("calendar = { days = 0 }", "calendar: "),
    ("calendar = { dyas = 1 }", 'calendar.dyas: unknown key; did you mean "days"?'),
    ('calendar = { days = 1, at = "25:00" }', 'calendar.at: "25:00" is not a time of day'),
    ('dst = "both "', 'dst: must be one of cron, skip, both, not "both "; did you mean "both"?'),
    ('script = "x.sh"', "script: a job runs one thing, and command is given too: drop one"),
    ('args = ["x"]', "args: goes with script only"),
    ("kwargs = { a = 1 }", "kwargs: goes with python only"),
    ('cwd = "gone"', "cwd: folder {here}/gone does not exist"),
    ('env_file = "gone"', "env_file: file {here}/gone does not exist"),
    ('user = "no-such-user"', 'user: there is no user "no-such-user" on this machine'),
    ('group = "no-such-group"', 'group: there is no group "no-such-group" on this machine'),
    ("secrets = { A = 'x' }", 'secrets.A: must be {{ file = "..." }} or {{ command = ["...", "..."] }}, not "x"'),
    ("secrets = { A = { command = 'x' } }", "secrets.A: its command must be a list of words in square brackets"),
    ("secrets = { A = { file = 'gone' } }", "secrets.A: file {here}/gone does not exist"),
    ("secrets = { JOBSUP_JOB = { command = ['x'] } }", "secrets.JOBSUP_JOB: is set by jobsup itself"),
    ('umask = "8"', 'umask: must be octal digits in quotes like "022", not "8"'),
    ("umask = 22", 'umask: must be octal digits in quotes like "022", not 22'),
    ("nice = 20", 'nice: must be between -20 and 19, not 20, or "none"'),
    ('io_scheduling_class = "ilde"', "io_scheduling_class: must be one of realtime, best-effort, idle, not"),
    ('memory_max = "1MiB"', 'memory_max: must be between 4MiB and 1024TiB, not "1MiB", or "none"'),
    ("tasks_max = 0", "tasks_max: must be between 1 and 4194304, not 0"),
    ('cpu_quota = "0%"', 'cpu_quota: must be a share of one processor like "50%", or of several like "150%", not "0%"'),
    ("cpu_quota = 50", "cpu_quota: must be a share of one processor like"),
    ("limit_cpu = 5", 'limit_cpu: 5 has no unit: write "5s" for seconds'),
    ("success_exit_codes = [0, 256]", "success_exit_codes[1]: must be between 0 and 255, not 256"),
    ("success_exit_codes = []", "success_exit_codes: must hold 1 to 1000 items, not 0"),
    ('output_limit = "1GiB"', 'output_limit: must be between 1KiB and 64MiB, not "1GiB"'),
    ("output_limit = 10", "output_limit: must be between 1KiB and 64MiB, not 10"),
    ("catch_up_limit = 0", "catch_up_limit: must be between 1 and 10000, not 0"),
    ('overlap = "skp"', 'overlap: must be one of skip, queue, allow, replace, not "skp"; did you mean "skip"?'),
    ('timeout = "0s"', 'timeout: must be at least 1ms, or "none", not "0s"'),
    ("timeout = 5", 'timeout: 5 has no unit: write "5s" for seconds'),
    ("max_retries = -1", "max_retries: must be between 0 and 1000, not -1"),
    ('retry_backoff = "1h"\nretry_backoff_max = "1m"', "retry_backoff: is longer than retry_backoff_max"),
    ("enabled = 'yes'", 'enabled: must be true or false, not "yes"'),
    ("env = { A = 1 }", "env.A: must be text in quotes, not 1"),
    ("env = { '1A' = 'x' }", 'env.1A: "1A" is not a variable\'s name'),
    ("env = { JOBSUP_JOB = 'x' }", "env.JOBSUP_JOB: is set by jobsup itself: choose another name"),
    ('queue = "-x"', 'queue: "-x" is not a name'),
    ('tags = ["a b"]', 'tags[0]: "a b" is not a name'),
    ("params = { 'a b' = 1 }", "params.a b: a parameter's name has up to 64 letters"),
    ("params = { a = 1, A = 2 }", 'params.A: "a" and "A" would both be JOBSUP_PARAM_A: rename one'),
    ("params = { a = { type = 'int' } }", "params.a.type: must be one of string, integer, number, boolean"),
    ("params = { a = { type = [] } }", "params.a.type: must be one of string, integer, number, boolean"),
    ("params = { a = { default = 1, type = 'string' } }", "params.a.default: must be of type string, not 1"),
    ("params = { a = { choices = [1, 'x'] } }", 'params.a.choices[1]: must be of type integer, not "x"'),
    ("params = { a = { default = 3, choices = [1, 2] } }", "params.a.default: must be one of the choices, not 3"),
    ("params = { a = { defualt = 3 } }", 'params.a.defualt: unknown key; did you mean "default"?'),
    ("params = { a = 2027-01-01 }", "params.a.default: must be text, a number, true or false, not 2027-01-01"),
    ("params = { a = nan }", "params.a.default: must be text, a number, true or false, not nan"),
    (
        "every = '1m'\nparams = { a = { required = true } }",
        "params.a: is required, but the job has a schedule, which gives no parameters: add a default",
    ),
]


@pytest.mark.parametrize(("lines", "message"), JOBS)
def test_a_wrong_job_is_one_line_with_its_place(folder: Folder, lines: str, message: str) -> None:
    problems = [line for line in folder.problems(JOB + lines) if "script: /" not in line and "cannot" not in line]
    assert len(problems) == 1
    place, _, rest = problems[0].partition(' [[job]] 1 "a" ')
    assert place.startswith("jobsup.toml:")
    assert rest.startswith(message.format(here=folder.path))


WORK = [
    ("", "says nothing to run: add one of command, script or python"),
    ('command = ""', "command: must not be empty"),
    ("command = []", "command: must hold 1 to 1000 words, not 0"),
    ("command = 5", "command: must be a shell line in quotes, or a list of words, not 5"),
    ('command = "a\\u0000b"', "command: must not hold a NUL character"),
    ('script = "gone.sh"', "script: {here}/gone.sh cannot be read: No such file or directory"),
    ('script = "plain"', "script: {here}/plain is not executable, has no #! line"),
    ('python = "module"', 'python: "module" is not a callable: write it like "package.module:function"'),
    ("python = 'm:f'\nstdin = 'x'", "stdin: goes with command and script only"),
    ("python = 'm:f'\nkwargs = { a = 2027-01-01 }", "kwargs: holds 2027-01-01: only text"),
    ("python = 'm:f'\nkwargs = { a = [{ b = inf }] }", "kwargs: holds inf: only text"),
]


@pytest.mark.parametrize(("lines", "message"), WORK)
def test_what_a_job_runs_is_judged_before_it_runs(folder: Folder, lines: str, message: str) -> None:
    folder.write("words", "plain")
    problems = folder.problems(f'[[job]]\nname = "a"\n{lines}\n')
    assert len(problems) == 1
    assert message.format(here=folder.path) in problems[0]


@pytest.mark.parametrize("name", ["", "-a", ".a", "a b", "a/b", "é", "x" * 65, "a\\n"])
def test_a_name_that_would_need_quoting_somewhere_is_refused(folder: Folder, name: str) -> None:
    (line,) = folder.problems(f'[[job]]\nname = "{name}"\ncommand = "true"\n')
    assert "is not a name: use 1 to 64 letters" in line


def test_a_duplicate_name_names_both_places_across_files(folder: Folder) -> None:
    folder.write(JOB, "jobs.d/b.toml")
    (line,) = folder.problems('include = ["jobs.d/*.toml"]\n' + JOB)
    assert line == ('jobs.d/b.toml:2: [[job]] 1 "a" name: duplicate name: jobsup.toml:3 [[job]] 1 "a" has it already')


def test_all_problems_come_at_once_in_the_order_of_the_files(folder: Folder) -> None:
    folder.write("[worker]\n[[job]]\nname = 5\ncommand = 1\n", "jobs.d/b.toml")
    text = 'include = ["jobs.d/*.toml"]\n[worker]\ncount = -1\n[[job]]\nname = "a"\ncron = "x"\nevery = 1\n'
    text += "[database]\nurl = 5\n"
    lines = folder.problems(text, JOBSUP_WORKER_COUNT="many")
    assert [line.split(": ")[:2] for line in lines] == [
        ["jobsup.toml:3", "[worker] count"],
        ["jobsup.toml:4", '[[job]] 1 "a"'],
        ["jobsup.toml:6", '[[job]] 1 "a" cron'],
        ["jobsup.toml:7", '[[job]] 1 "a" every'],
        ["jobsup.toml:9", "[database] url"],
        ["environment", "JOBSUP_WORKER_COUNT"],
        ["jobs.d/b.toml:1", "worker"],
        ["jobs.d/b.toml:3", "[[job]] 1 name"],
        ["jobs.d/b.toml:4", "[[job]] 1 command"],
    ]


def test_a_file_that_cannot_be_read_is_one_clear_line(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"^jobsup.toml: cannot be read: No such file or directory$"):
        load("jobsup.toml")
    with pytest.raises(ConfigError, match=r"is not a regular file$"):
        load(folder.path)
    os.mkfifo(folder.path / "pipe")
    with pytest.raises(ConfigError, match=r"^pipe: is not a regular file$"):
        load("pipe")
    (folder.path / "latin").write_bytes(b"# ok\n# \xe9\n")
    with pytest.raises(ConfigError, match=r"^latin:2: is not UTF-8 text$"):
        load("latin")
    monkeypatch.setattr(source, "FILE_BYTES_MAX", 4)
    assert "is larger than" in folder.problems("# too long")[0]


def test_a_file_without_permission_is_one_clear_line(folder: Folder) -> None:
    folder.write("").chmod(0)
    owner = os.geteuid()
    if owner == 0:  # root reads every file
        os.seteuid(65534)
    try:
        with pytest.raises(ConfigError, match=r"^jobsup.toml: cannot be read: Permission denied$"):
            load("jobsup.toml", {})
    finally:
        os.seteuid(owner)


@pytest.mark.parametrize("name", ["jobsup.toml", "jobs.d/a.toml"])
def test_a_file_that_everybody_can_write_is_refused(folder: Folder, name: str) -> None:
    folder.write('include = ["jobs.d/*.toml"]')
    folder.write("", "jobs.d/a.toml")
    (folder.path / name).chmod(0o646)
    with pytest.raises(ConfigError) as caught:
        load("jobsup.toml", {})
    assert str(caught.value) == (
        f"{name}: is writable by everybody, so others could make jobsup run their commands: chmod o-w,g-w {name}"
    )


def test_a_folder_that_everybody_can_write_is_refused_unless_it_is_sticky(folder: Folder) -> None:
    folder.path.chmod(0o757)
    assert "which is writable by everybody" in folder.problems("")[0]
    folder.path.chmod(0o1757)
    assert folder.load("").warnings == ()


def test_a_link_is_judged_by_the_folder_it_leads_to(folder: Folder, tmp_path: Path) -> None:
    target = tmp_path / "open"
    target.mkdir()
    (target / "real.toml").write_text("")
    target.chmod(0o757)
    (folder.path / "link.toml").symlink_to(target / "real.toml")
    with pytest.raises(ConfigError, match=r"^link.toml: lies in .*/open, which is writable by everybody"):
        load("link.toml", {})


@pytest.mark.parametrize("euid", [0, 1000])
def test_a_file_its_group_can_write_is_refused_for_root_and_warned_about_otherwise(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, euid: int
) -> None:
    folder.write("").chmod(0o664)
    monkeypatch.setattr(os, "geteuid", lambda: euid)
    message = "jobsup.toml: is writable by its group"
    if euid == 0:
        with pytest.raises(ConfigError, match=message):
            load("jobsup.toml", {})
    else:
        assert next(str(problem) for problem in load("jobsup.toml", {}).warnings).startswith(message)


def test_only_root_runs_jobs_as_somebody_else(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4321)
    assert folder.problems(JOB + 'user = "root"')[0].endswith(
        "user: only root can run jobs as another user: start jobsup as root"
    )


def test_too_many_jobs_or_files_are_refused(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader.jobs, "JOBS_MAX", 1)
    assert "more than 1 jobs" in folder.problems(JOB + JOB.replace('"a"', '"b"'))[0]
    monkeypatch.setattr(loader, "INCLUDED_FILES_MAX", 1)
    folder.write("", "x1.toml")
    folder.write("", "x2.toml")
    assert "names 2 files, more than the 1 allowed" in folder.problems('include = ["x*.toml"]')[0]


toml_values = st.recursive(
    st.sampled_from(["1", "-1", "1.5", "nan", "true", '"x"', '"30s"', "2027-01-01", "07:00:00", "''", '"\\u0000"']),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | st.dictionaries(st.sampled_from("ab"), inner, max_size=2).map(
            lambda table: f"{{ {', '.join(f'{key} = {value}' for key, value in table.items())} }}"
        )
    ),
    max_leaves=4,
)
job_keys = st.sampled_from(
    [
        "command",
        "script",
        "args",
        "python",
        "kwargs",
        "cron",
        "every",
        "anchor",
        "calendar",
        "on_calendar",
        "at",
        "timezone",
        "dst",
        "tags",
        "queue",
        "priority",
        "timeout",
        "max_retries",
        "overlap",
        "catch_up",
        "params",
        "env",
        "env_file",
        "cwd",
        "user",
        "success_exit_codes",
        "output_limit",
    ]
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(job_keys, toml_values, max_size=5))
def test_any_value_anywhere_is_taken_or_refused_but_never_a_crash(folder: Folder, table: dict[str, str]) -> None:
    text = '[[job]]\nname = "a"\n' + "".join(f"{key} = {value}\n" for key, value in table.items())
    folder.write(text)
    try:
        outcome = [str(problem) for problem in load("jobsup.toml", {}).warnings]
    except ConfigError as error:
        outcome = str(error).splitlines()
    assert all(line.startswith("jobsup.toml:") for line in outcome)
