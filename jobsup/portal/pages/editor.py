"""New and changed definitions: a form and the TOML side by side, looked at as they are written, saved after a diff."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import quote

from starlette.responses import Response

from jobsup.actions import define
from jobsup.actions.documents import spec_document
from jobsup.errors import ConfigError, JobsupError, Problem, UsageError
from jobsup.model import Origin, Role
from jobsup.portal.call import Call
from jobsup.portal.problems import status_of
from jobsup.portal.routes import Entry
from jobsup.portal.views import editor
from jobsup.portal.views.words import command, on_clock
from jobsup.store import jobs
from jobsup.store.engine import Database

FORM, TOML = "form", "toml"
CONFLICT = 409


async def new(call: Call) -> Response:
    """Begin a job; `?like=` one there is."""
    like = call.query.get("like", "")
    text = editor.STARTER
    if like:
        facts = await call.ask(lambda database: jobs.get_job(database, like))
        table = editor.parse(editor.text_of(facts.spec, call.site.config.defaults)) or {}
        text = editor.written({**table, "name": f"{like}-copy"})
    return await _page(call, text, "")


async def edit(call: Call) -> Response:
    """Show a definition as it is."""
    name = str(call.path["name"])
    facts = await call.ask(lambda database: jobs.get_job(database, name))
    return await _page(call, editor.text_of(facts.spec, call.site.config.defaults), name)


async def look(call: Call) -> Response:
    """Say what is wrong with what was written, when it would run, and what would change; changes nothing."""
    name, text = await call.field("job"), await _text(call)
    edited = await call.field("edited")
    if edited == FORM:
        table = editor.parse(text)
        if table is not None:
            given = {key: value for key, value in (await call.form()).items() if isinstance(value, str)}
            text = editor.written(editor.with_fields(table, given))
    return await _page(call, text, name)


async def save(call: Call) -> Response:
    """Save what was looked at, and go to the job."""
    name, replaces = await call.field("job"), await call.field("replaces")
    text = await _text(call)
    config = call.site.config
    draft = await call.ask(lambda database: _look(call, database, text, name))
    subject = draft.spec.name if draft.spec is not None else name or "new job"
    before = spec_document(draft.before.spec) if draft.before is not None else {}
    after = spec_document(draft.spec) if draft.spec is not None else {}
    keys = editor.changed_keys(before, after)
    detail = {
        "before": {key: before.get(key) for key in keys if before},
        "after": {key: after.get(key) for key in keys},
    }

    def work(database: Database) -> str:
        if draft.spec is None:
            raise ConfigError(draft.problems)
        saved = define.save_job(
            database,
            config,
            editor.unmasked(text, draft.before.spec if draft.before is not None else None),
            origin=Origin.PORTAL,
            name=name or None,
            replaces=replaces or None,
            may_change_work=config.portal.allow_edit_commands,
        )
        return saved.name

    try:
        saved = await call.act("job.save", subject, work, detail=detail)
    except JobsupError as error:
        return await _page(call, text, name, error=error)
    return call.go(f"/jobs/{quote(saved, safe='')}", f"{saved} is saved.")


async def remove(call: Call) -> Response:
    """Take a job that stands in no file out of service, when its name was typed."""
    name = str(call.path["name"])
    if await call.field("typed") != name:
        raise UsageError(f"type the job's name, {name}, to remove it")
    facts = await call.ask(lambda database: jobs.get_job(database, name))
    detail = {"before": spec_document(facts.spec)}
    await call.act("job.remove", name, lambda database: define.remove_job(database, name), detail=detail)
    return call.go("/jobs", f"{name} is removed. Its history stays.")


def _look(call: Call, database: Database, text: str, name: str) -> define.Draft:
    draft = define.look(database, call.site.config, text, name=name or None)
    shown = editor.unmasked(text, draft.before.spec) if draft.before is not None else text
    if shown != text:
        draft = define.look(database, call.site.config, shown, name=name or None)
    hidden = [Problem("its value is not shown here: write it", key=f"env.{key}") for key in editor.hidden_env(shown)]
    return replace(draft, spec=None, problems=(*draft.problems, *hidden)) if hidden else draft


async def _page(call: Call, text: str, name: str, *, error: JobsupError | None = None) -> Response:
    draft = await call.ask(lambda database: _look(call, database, text, name))
    defaults = call.site.config.defaults
    before = editor.text_of(draft.before.spec, defaults) if draft.before is not None and name else ""
    table = editor.parse(text)
    spec = draft.spec or (draft.before.spec if draft.before is not None else None)
    context: dict[str, Any] = {
        "draft": draft,
        "text": text,
        "job": name,
        "fields": editor.fields_of(table if table is not None else {}),
        "is_readable": table is not None,
        "patch": editor.patch(before, text) if draft.spec is not None else (),
        "zone": spec.schedule.timezone if spec is not None else "UTC",
        "may_change_work": call.site.config.portal.allow_edit_commands,
        "defaults": defaults,
        "error": str(error) if error is not None else "",
        "file": call.site.config.path,
    }
    status = 200 if error is None else status_of(error)
    return call.page("editor.html", status=status, **context, editor=editor, command=command, on_clock=on_clock)


async def _text(call: Call) -> str:
    value = (await call.form()).get("text", "")
    text = value.replace("\r\n", "\n") if isinstance(value, str) else ""
    if len(text) > editor.TEXT_CHARS_MAX:
        raise UsageError(f"a job's table has at most {editor.TEXT_CHARS_MAX} characters")
    return text


ENTRIES = (
    Entry("GET", "/jobs/new", new, Role.AUTHOR),
    Entry("GET", "/jobs/{name}/edit", edit, Role.AUTHOR),
    Entry("POST", "/jobs/look", look, Role.AUTHOR),
    Entry("POST", "/jobs/save", save, Role.AUTHOR),
    Entry("POST", "/jobs/{name}/remove", remove, Role.AUTHOR),
)
