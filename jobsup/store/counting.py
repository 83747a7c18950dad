"""What an idle process costs the database: the statements that it sends."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, event


class StatementCount:
    """How many statements an engine has sent, those that only begin a transaction left out."""

    def __init__(self, engine: Engine) -> None:
        self.sent = 0
        event.listen(engine, "before_cursor_execute", self._count)

    def _count(self, _: Any, __: Any, statement: str, *___: Any) -> None:
        self.sent += not statement.startswith("BEGIN")
