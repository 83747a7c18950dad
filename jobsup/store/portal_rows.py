"""The portal's tables as the store's own statements name them, as `rows` does; only who serves people loads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobsup.store import portal_tables as tables
from jobsup.store.rows import named

if TYPE_CHECKING:
    from jobsup.store.models import Audit, PortalRequest, PortalSession, PortalSetup, PortalToken, PortalUser
else:
    PortalUser = named(tables.portal_user)
    PortalSession = named(tables.portal_session)
    PortalSetup = named(tables.portal_setup)
    PortalToken = named(tables.portal_token)
    PortalRequest = named(tables.portal_request)
    Audit = named(tables.audit)

__all__ = ["Audit", "PortalRequest", "PortalSession", "PortalSetup", "PortalToken", "PortalUser"]
