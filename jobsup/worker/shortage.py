"""Whether the kernel has ended processes of this machine for want of memory, where no control group tells whose."""

from __future__ import annotations

from pathlib import Path

VMSTAT = "/proc/vmstat"


class Shortage:
    """Remembers when the kernel's count was last seen to have grown; looked at now and then, and when in doubt."""

    def __init__(self, vmstat: str = VMSTAT) -> None:
        self._vmstat = Path(vmstat)
        self._count = self._read()
        self._grown_at: float | None = None

    def look(self, now: float) -> None:
        """Read the count; `now` is on the monotonic clock."""
        count = self._read()
        if count > self._count:
            self._grown_at = now
        self._count = count

    def was_since(self, moment: float, now: float) -> bool:
        """Say whether it has grown since that moment, or shortly before it."""
        self.look(now)
        return self._grown_at is not None and self._grown_at >= moment

    def _read(self) -> int:
        try:
            lines = self._vmstat.read_text(encoding="utf-8").splitlines()
        except OSError:
            return 0
        return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
