"""Which file is read, where an instance lives, and that the quick look agrees with the full loader."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jobsup.config import places, search, urls
from jobsup.config.load import load
from jobsup.config.quick import peek
from jobsup.errors import ConfigError
from tests.support.config_folder import Folder


def test_a_file_is_found_by_option_then_variable_then_the_nearest_place(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "SYSTEM_FILE", tmp_path / "system.toml")
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "xdg")}
    with pytest.raises(ConfigError) as caught:
        search.find(None, environ)
    assert str(caught.value) == (
        f"no configuration found (looked at jobsup.toml, {tmp_path}/xdg/jobsup/jobsup.toml, {tmp_path}/system.toml): "
        "write one with `jobsup init`"
    )
    found = []
    for file in (tmp_path / "system.toml", tmp_path / "xdg/jobsup/jobsup.toml", folder.path / "jobsup.toml"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("")
        found.append(search.find(None, environ))
    assert found == [tmp_path / "system.toml", tmp_path / "xdg/jobsup/jobsup.toml", Path("jobsup.toml")]
    (tmp_path / "named.toml").write_text("")
    environ["JOBSUP_CONFIG"] = str(tmp_path / "named.toml")
    assert search.find(None, environ) == tmp_path / "named.toml"
    assert search.find("jobsup.toml", environ) == Path("jobsup.toml")


def test_a_named_file_that_is_missing_is_not_replaced_by_another(folder: Folder) -> None:
    folder.write("")
    with pytest.raises(ConfigError, match=r"^gone.toml does not exist: check -c"):
        search.find("gone.toml", {})
    with pytest.raises(ConfigError, match=r"^gone.toml does not exist: check the variable JOBSUP_CONFIG$"):
        search.find(None, {"JOBSUP_CONFIG": "gone.toml"})


def test_a_relative_xdg_folder_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    assert search.default_places({"XDG_CONFIG_HOME": "x"})[1] == Path("/home/ada/.config/jobsup/jobsup.toml")


@pytest.mark.parametrize(
    ("euid", "xdg", "name", "configured", "expected"),
    [
        (0, "/run/user/0", "default", "", "/run/jobsup/default"),
        (0, "", "team", "", "/run/jobsup/team"),
        (7, "/run/user/7", "default", "", "/run/user/7/jobsup"),
        (7, "/run/user/7", "team", "", "/run/user/7/jobsup/team"),
        (7, "relative", "default", "", "/home/ada/.local/state/jobsup"),
        (7, "", "default", "", "/home/ada/.local/state/jobsup"),
        (0, "/run/user/0", "team", "/srv/x", "/srv/x"),
    ],
)
def test_the_runtime_folder_is_never_a_shared_one(
    monkeypatch: pytest.MonkeyPatch, euid: int, xdg: str, name: str, configured: str, expected: str
) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setattr(os, "geteuid", lambda: euid)
    assert places.runtime_dir(name, configured, {"XDG_RUNTIME_DIR": xdg}) == Path(expected)


@pytest.mark.parametrize(
    ("euid", "systemd", "configured", "runtime", "expected"),
    [
        (0, "", "", "", "/var/lib/jobsup/team"),
        (7, "", "", "", "/home/ada/.local/state/jobsup/team"),
        (0, "/var/lib/jobsup", "", "/run/jobsup/team", "/var/lib/jobsup/team"),
        (0, "/var/lib/jobsup:/var/lib/more", "/srv/x", "/srv/y", "/srv/x"),
        (0, "", "", "/srv/y", "/srv/y"),
    ],
)
def test_what_must_outlive_a_stop_is_kept_where_a_stop_clears_nothing_away(
    monkeypatch: pytest.MonkeyPatch, euid: int, systemd: str, configured: str, runtime: str, expected: str
) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setattr(os, "geteuid", lambda: euid)
    environ = {"STATE_DIRECTORY": systemd} if systemd else {}
    assert places.state_dir("team", configured, runtime, environ) == Path(expected)


@pytest.mark.parametrize(("length", "is_fine"), [(94, True), (95, False)])
def test_a_socket_path_fits_to_the_very_byte(length: int, is_fine: bool) -> None:
    folder = "/" + "é" * ((length - 1) // 2) + "x" * ((length - 1) % 2)
    assert len(os.fsencode(places.socket_path(folder))) == length + 13
    assert (places.socket_fault(folder) is None) is is_fine


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:p@h:5/d", "postgresql://u:***@h:5/d"),
        ("postgresql+psycopg://u:p@ss/w:rd@h/d?x=1", "postgresql+psycopg://u:***@h/d?x=1"),
        ("postgresql://:p@h/d", "postgresql://:***@h/d"),
        ("postgresql://h/d?user=u&password=p&x=1", "postgresql://h/d?user=u&password=***&x=1"),
        ("postgresql://u@h/d", "postgresql://u@h/d"),
        ("sqlite:////var/a.db", "sqlite:////var/a.db"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert urls.masked(url) == shown


CONFIGS = [
    "",
    '[jobs]\nset = "team"\n',
    '[database]\nurl = "sqlite:///a/../b.db?x=1"\n[supervisor]\nruntime_dir = "run"\nnode = "n1"\n',
    '[database]\nurl = "postgresql://u:p@h/d"\n[supervisor]\nruntime_dir = "~/run"\n',
    '[supervisor]\nruntime_dir = ""\nnode = ""\n',
]
ENVIRONS: list[dict[str, str]] = [
    {},
    {"REFLEX_DB_URL": "sqlite:///e.db", "XDG_RUNTIME_DIR": "/run/user/7"},
    {"JOBSUP_DATABASE_URL": "sqlite:///x/../f.db", "REFLEX_DB_URL": "sqlite:///e.db", "JOBSUP_JOBS_SET": "other"},
    {"JOBSUP_SUPERVISOR_RUNTIME_DIR": "here", "JOBSUP_SUPERVISOR_NODE": "n2"},
    {"JOBSUP_DATABASE_URL": "", "JOBSUP_SUPERVISOR_NODE": ""},
]


@pytest.mark.parametrize("text", CONFIGS)
@pytest.mark.parametrize("environ", ENVIRONS)
@pytest.mark.parametrize("euid", [0, 7])
def test_the_quick_look_sees_what_the_full_loader_sees(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, environ: dict[str, str], euid: int
) -> None:
    file = folder.write(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: euid)
    quick, full = peek(file, environ), load(file, environ)
    assert quick.database_url == full.database.url
    assert quick.runtime_dir == full.supervisor.runtime_dir
    assert (quick.set, quick.node, quick.path) == (full.set, full.supervisor.node, full.path)


@pytest.mark.parametrize(
    ("text", "environ"),
    [
        ("[database]\nurl = 5\n", {}),
        ('[database]\nurl = "x.db"\n', {}),
        ('[jobs]\nset = "a/b"\n', {}),
        ("database = 5\n", {}),
        ("[a\n", {}),
        ("", {"REFLEX_DB_URL": "mysql://h/d"}),
        ("", {"JOBSUP_JOBS_SET": "../x"}),
    ],
)
def test_the_quick_look_refuses_what_the_full_loader_refuses(
    folder: Folder, text: str, environ: dict[str, str]
) -> None:
    folder.write(text)
    refusals = []
    for read in (peek, load):
        with pytest.raises(ConfigError) as caught:
            read("jobsup.toml", environ)
        refusals.append(str(caught.value))
    assert refusals[0] == refusals[1]
