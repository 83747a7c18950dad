"""What a transaction has to tell when it is committed, beside the kinds of listeners all of whom it tells."""

from __future__ import annotations

OFFER = "offer"
"""Runs that can be claimed now: for as many workers as can have one, not for all."""
