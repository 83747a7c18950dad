"""What a reload would change, what is in force and why, and the files that newcomers are given."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from jobsup.config.diff import diff
from jobsup.config.keys import DEFAULT_KEYS, SETTING_KEYS
from jobsup.config.load import load
from jobsup.config.schema import BlackoutTable, CalendarTable, JobTable, NamedCalendarTable, ScheduleTable
from jobsup.config.show import effective, setting_value
from jobsup.config.starter import starter_toml
from jobsup.model import JobKind
from tests.support.config_folder import Folder

REPOSITORY = Path(__file__).parents[3]
EXAMPLE = REPOSITORY / "jobsup.toml.example"


def job(name: str, lines: str = "") -> str:
    return f'[[job]]\nname = "{name}"\ncommand = "true"\n{lines}\n'


def test_equal_configurations_have_no_difference(folder: Folder) -> None:
    text = job("a", 'env = { A = "1" }\ncron = "0 3 * * *"')
    difference = diff(folder.load(text), folder.load("# moved down\n" + text))
    assert difference.is_empty
    assert difference.lines() == []


def test_a_difference_is_told_in_one_line_a_change(folder: Folder) -> None:
    old = folder.load(
        '[worker]\ncount = 4\n[defaults]\ntimezone = "UTC"\n'
        + job("backup", 'cron = "0 3 * * *"')
        + job("gone")
        + job("many", 'timeout = "1m"\nparams = { p = 1 }\nevery = "1h"\nenv = { A = "s3cret", B = "s3cret" }')
    )
    new = folder.load(
        '[worker]\ncount = 6\njob_timeout = "none"\n[defaults]\ntimezone = "UTC"\n'
        + job("fresh")
        + job("backup", 'cron = "0 4 * * *"\ntimeout = "10m"')
        + job("many", 'params = { p = 2 }\ntags = ["x"]\nenv = { A = "s3cret2", C = "s3cret" }\ndst = "skip"')
    )
    lines = diff(old, new).lines()
    assert lines == [
        "~ worker.count: 4 -> 6",
        '~ worker.job_timeout: "10m" -> "none"',
        "+ job fresh",
        "~ job backup: cron 0 3 * * * -> 0 4 * * *",
        (
            '~ job many: schedule every 1h -> manual; dst cron -> skip; tags [] -> ["x"]; timeout "1m" -> "none"; '
            'params.p { type = "integer", default = 1 } -> { type = "integer", default = 2 }; '
            "env.A *** -> ***; env.B *** -> (none); env.C (none) -> ***"
        ),
        "- job gone",
    ]
    assert diff(new, old).removed == ("fresh",)


def test_a_changed_password_is_told_and_not_shown(folder: Folder) -> None:
    old = folder.load("", JOBSUP_DATABASE_URL="postgresql://u:one@h/d")
    new = folder.load("", JOBSUP_DATABASE_URL="postgresql://u:two@h/d")
    assert diff(old, new).lines() == [
        '~ database.url: "postgresql://u:***@h/d" -> "postgresql://u:***@h/d" (password changed)'
    ]


def test_every_setting_is_shown_with_its_origin_and_no_secret(folder: Folder) -> None:
    text = '[worker]\ncount = 6\n[defaults]\nenv = { TOKEN = "s3cret" }\nparams = { p = 1 }\n'
    config = folder.load(text, JOBSUP_DATABASE_URL="postgresql://u:s3cret@h/d", WORKER_JOB_TIMEOUT="none")
    rows = {key: (value, origin) for key, value, origin in effective(config)}
    assert rows["worker.count"] == ("6", "jobsup.toml:2")
    assert rows["worker.concurrency"] == ("1", "default")
    assert rows["worker.job_timeout"] == ('"none"', "environment WORKER_JOB_TIMEOUT")
    assert rows["database.url"] == ('"postgresql://u:***@h/d"', "environment JOBSUP_DATABASE_URL")
    assert rows["defaults.env.TOKEN"] == ('"***"', "jobsup.toml:4")
    assert rows["defaults.params.p"] == ('{ type = "integer", default = 1 }', "jobsup.toml:5")
    assert {key.path for key in (*SETTING_KEYS, *DEFAULT_KEYS)} <= rows.keys()
    assert "s3cret" not in str(rows)


def test_the_starter_file_is_accepted_as_it_stands_and_with_every_comment_opened(folder: Folder) -> None:
    assert [each.name for each in folder.load(starter_toml()).jobs] == ["hello"]
    opened = folder.load(_opened(starter_toml()))
    assert opened.warnings == ()
    assert [each.name for each in opened.jobs] == ["hello", "backup", "report"]


def test_the_example_runs_as_it_stands() -> None:
    config = load(EXAMPLE, {})
    assert [warning for warning in config.warnings if "writable by its group" not in warning.message] == []
    assert config.database.url == f"sqlite:///{REPOSITORY}/jobsup.db"
    kinds = {each.kind for each in config.jobs}
    assert kinds == set(JobKind)
    assert any(each.schedule.is_manual for each in config.jobs)
    soon = [each.name for each in config.jobs if each.schedule.every and each.schedule.every.total_seconds() <= 60]
    assert len(soon) >= 2


def test_the_example_names_every_key_with_its_default(tmp_path: Path) -> None:
    opened = tmp_path / "etc" / "jobsup.toml"
    opened.parent.mkdir(mode=0o755)
    text = _opened(EXAMPLE.read_text())
    opened.write_text(text.replace('"config/examples', f'"{REPOSITORY}/config/examples'))
    example, bare = load(opened, {}), tmp_path / "etc" / "bare.toml"
    bare.write_text("")
    defaults = load(bare, {})
    chosen = {"database.url", "worker.count", "worker.python_path", "portal.enabled"}
    chosen |= {"defaults.cwd", "defaults.timezone"}
    for key in (*SETTING_KEYS, *DEFAULT_KEYS):
        assert example.origins.get(key.path, "default") != "default", f"{key.path} is not in the example"
        if key.path not in chosen:
            said, default = setting_value(example, key.path), setting_value(defaults, key.path)
            assert said == default, f"the example says {said} for {key.path}, which is {default}"
    assert {"defaults.env", "defaults.params"} <= example.origins.keys()
    tables = (JobTable, ScheduleTable, NamedCalendarTable, BlackoutTable)
    keys = {each.alias or name for table in tables for name, each in table.model_fields.items()}
    for name in {*keys, "include"}:
        pattern = rf"(?m)^#?{name} = |^#?\[+job.{name}\]"
        assert re.search(pattern, EXAMPLE.read_text()), f"{name} is not in the example"
    assert {"months", "at", "start_date", "business_days"} <= set(CalendarTable.model_fields)
    assert [warning for warning in example.warnings if "everybody" not in warning.message] == []
    assert all((example.shared.calendars, example.shared.blackouts, example.shared.pools))


@pytest.mark.parametrize("file", sorted((REPOSITORY / "config/examples").glob("*.py")))
def test_the_callables_of_the_example_exist(file: Path) -> None:
    functions = {node.name for node in ast.parse(file.read_text()).body if isinstance(node, ast.FunctionDef)}
    named = [each.python for each in load(EXAMPLE, {}).jobs if each.python]
    assert [name for name in named if name.split(":")[0] == file.stem and name.split(":")[1] in functions]


def _opened(text: str) -> str:
    """Take the # from every line that has a key or a table right behind it."""
    return re.sub(r"(?m)^#(?=[\w\[])", "", text)
