"""The words and bounds both sides of the control socket keep to."""

from __future__ import annotations

MESSAGE_BYTES_MAX = 64 << 10
"""The longest request."""
REPLY_BYTES_MAX = 4 << 20
"""The longest reply, and the most that may wait for a client that does not read."""
CLIENTS_MAX = 32
IDLE_SECONDS_MAX = 5.0
"""How long a client may take to send its request, or to read its answer."""
PATH_BYTES_MAX = 107
"""The kernel's limit for the path of a Unix socket, without its closing zero."""
