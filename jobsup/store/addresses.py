"""Database URLs as the driver wants them: one driver for PostgreSQL, and several hosts in one URL."""

from __future__ import annotations

import functools
import re

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from jobsup.config.urls import masked
from jobsup.errors import UsageError

PORT = "5432"

_SEVERAL = re.compile(
    r"(?P<scheme>postgresql(?:\+psycopg)?://)(?P<user>[^@/]*@)?(?P<hosts>[^/?@]*,[^/?@]*)(?P<rest>.*)"
)


@functools.cache
def parse(url: str) -> URL:
    """Return the URL with the driver there is. UsageError when it cannot be read.

    Several hosts are written as libpq does: `postgresql://db1,db2:5433/jobsup?target_session_attrs=read-write`.
    It is kept: what a process has read before it forked costs its children no memory.
    """
    try:
        parsed = make_url(_spread_hosts(url))
    except (ArgumentError, ValueError) as error:
        raise UsageError(f"{masked(url)} is no database URL") from error
    if parsed.get_backend_name() == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    return parsed


def shown(url: URL) -> str:
    """Return a server's URL as a person writes it, several hosts in their place again, and without its password."""
    hosts, ports = (str(url.query.get(name, "")).split(",") for name in ("host", "port"))
    plain = url.set(drivername="postgresql")
    if len(hosts) == 1 or len(ports) != len(hosts):
        return masked(plain.render_as_string(hide_password=True))
    bare = [f"[{host}]" if ":" in host else host for host in hosts]
    places = ",".join(host if port == PORT else f"{host}:{port}" for host, port in zip(bare, ports, strict=True))
    rest = plain.difference_update_query(("host", "port")).render_as_string(hide_password=True)
    gap = "@/" if "@/" in rest else ":///"
    return masked(rest.replace(gap, f"{gap[:-1]}{places}/", 1))


def _spread_hosts(url: str) -> str:
    """Move several hosts into the query, where the URL's own grammar allows them."""
    match = _SEVERAL.fullmatch(url)
    if match is None:
        return url
    places = [host.rpartition(":") if _has_port(host) else (host, ":", PORT) for host in match["hosts"].split(",")]
    hosts, ports = ",".join(host.strip("[]") for host, _, _ in places), ",".join(port for _, _, port in places)
    path, question, query = match["rest"].partition("?")
    return f"{match['scheme']}{match['user'] or ''}{path}?{query + '&' if question else ''}host={hosts}&port={ports}"


def _has_port(host: str) -> bool:
    return bool(re.search(r":\d+$", host))
