"""What all requests share: the configuration, the database, the templates, and how to know that we are leaving."""

from __future__ import annotations

import asyncio
from functools import cached_property
from pathlib import Path

from jinja2 import Environment

from jobsup.clock import Clock, SystemClock
from jobsup.config.places import is_loopback, socket_path
from jobsup.config.settings import Config
from jobsup.portal.handles import Handles
from jobsup.portal.limits import (
    DENIALS_BURST,
    DENIALS_PER_SECOND,
    HOOKS_BURST,
    HOOKS_PER_SECOND,
    Buckets,
    Tries,
)
from jobsup.portal.looks import Looks
from jobsup.portal.opening import setup_file
from jobsup.portal.render import environment
from jobsup.portal.repeats import Repeats
from jobsup.portal.views.tallies import Tallies
from jobsup.portal.watches import Watches
from jobsup.version import VERSION

HASHES_AT_ONCE = 2
"""Passwords that are looked at at a time: each takes 32 MiB."""
LOOPBACK_NAMES = ("127.0.0.1", "localhost", "::1")

MENU: tuple[tuple[str, str, str], ...] = (
    ("/", "Overview", "viewer"),
    ("/jobs", "Jobs", "viewer"),
    ("/runs", "Runs", "viewer"),
    ("/timeline", "Timeline", "viewer"),
    ("/calendar", "Calendar", "viewer"),
    ("/workers", "Workers", "viewer"),
    ("/admin", "Admin", "admin"),
)
"""Path, label, and the least role that sees it."""


class Site:
    """One portal."""

    def __init__(self, config: Config, handles: Handles, *, clock: Clock | None = None) -> None:
        self.config = config
        self.settings = config.portal
        self.handles = handles
        self.clock = clock or SystemClock()
        self.setup_file = setup_file(config.supervisor.runtime_dir)
        """Holds the one-time token of the set-up page while that page is open."""
        self.templates: Environment = environment()
        self.buckets = Buckets(self.clock)
        """Requests, by address."""
        self.tokens = Buckets(self.clock)
        """Requests with a token, by its name: from however many addresses they come."""
        self.hooks = Buckets(self.clock, rate=HOOKS_PER_SECOND, burst=HOOKS_BURST)
        self.denials = Buckets(self.clock, rate=DENIALS_PER_SECOND, burst=DENIALS_BURST)
        """Lines of the audit, by who may not do what they wanted."""
        self.tries = Tries(self.clock)
        self.hashing = asyncio.Semaphore(HASHES_AT_ONCE)
        self.draining = asyncio.Event()
        """Set when we leave: streams end then."""
        self.watches = Watches(handles, self.draining)
        self.repeats = Repeats(self.clock)
        self.looks = Looks(self.clock)
        self.tallies = Tallies()
        self.node = config.supervisor.node
        self.version = VERSION
        self.menu = MENU

    @property
    def is_https(self) -> bool:
        """Whether browsers speak TLS with us, or with the proxy before us."""
        return bool(self.settings.tls_cert) or self.settings.behind_proxy

    @cached_property
    def hosts(self) -> frozenset[str]:
        """The names we go by, in lower case, without a port."""
        own = {self.settings.host.strip("[]").lower()} - {"0.0.0.0", "::"}  # noqa: S104  (not bound: left out)
        local = LOOPBACK_NAMES if is_loopback(self.settings.host) else ()
        return frozenset({*own, *local, *(name.lower() for name in self.settings.allowed_hosts)})

    @property
    def socket(self) -> Path:
        """Where the supervisor of this configuration listens."""
        return socket_path(self.config.supervisor.runtime_dir)
