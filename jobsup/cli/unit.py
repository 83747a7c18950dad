"""The systemd unit, as text: one template for the file that is installed and the one that is printed."""

from __future__ import annotations

from dataclasses import dataclass

STOP_MARGIN_SECONDS = 20
"""What a stop may take beyond the drain and the last job's grace."""

_TEMPLATE = """\
# jobsup: the scheduled-job supervisor. `jobsup systemd` prints this file for an installation.

[Unit]
Description=jobsup, the scheduled-job supervisor
Wants=network-online.target
After=network-online.target time-sync.target
# It is to come back for ever, as cron does.
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={start}
# Waits until the reload is done: its result is the truth.
ExecReload={reload}
{identity}RuntimeDirectory=jobsup
RuntimeDirectoryMode=0755
RuntimeDirectoryPreserve=restart
StateDirectory=jobsup
StateDirectoryMode=0750
WorkingDirectory=/var/lib/jobsup

# SIGTERM to the supervisor alone: it drains its jobs; what is left when the time is up is killed.
KillMode=mixed
TimeoutStartSec=180
TimeoutStopSec={stop_seconds}
WatchdogSec=30
Restart=always
RestartSec=1
# 2: wrong usage, 7: an invalid configuration. Starting again would not help.
RestartPreventExitStatus=2 7

# Workers, and jobs with limits, get control groups of their own; a job that runs out of memory ends alone.
Delegate=yes
OOMPolicy=continue
LimitNOFILE=65536

# The sandbox: what no ordinary job needs. Jobs may still read and write files, use the network, mount and change user.
# Where yours allow it, tighten it with `systemctl edit jobsup`, for example by
# ProtectSystem=full, ProtectHome=read-only, PrivateTmp=yes, PrivateDevices=yes, NoNewPrivileges=yes (forbids sudo).
CapabilityBoundingSet=~CAP_SYS_MODULE CAP_SYS_RAWIO CAP_SYS_TIME CAP_SYS_BOOT CAP_SYS_PACCT CAP_WAKE_ALARM
CapabilityBoundingSet=~CAP_SYSLOG CAP_MAC_ADMIN CAP_MAC_OVERRIDE CAP_BLOCK_SUSPEND CAP_LEASE CAP_BPF CAP_PERFMON
KeyringMode=private
LockPersonality=yes
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictRealtime=yes
SystemCallArchitectures=native
SystemCallFilter=~@clock @cpu-emulation @module @obsolete @raw-io @reboot @swap
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""


@dataclass(frozen=True, slots=True)
class Unit:
    """What differs from one installation to another."""

    program: str = "/usr/local/bin/jobsup"
    config: str = "/etc/jobsup/jobsup.toml"
    user: str | None = None
    """Whom it runs as; None is root, which `user =` in a job needs."""
    set_name: str = "default"
    stop_seconds: int = 60

    def text(self) -> str:
        """Return the unit file."""
        program, config = word(self.program), word(self.config)
        return _TEMPLATE.format(
            start=f"{program} start -c {config}",
            reload=f"{program} reload -c {config}",
            identity=self._identity(),
            stop_seconds=self.stop_seconds,
        )

    def _identity(self) -> str:
        if self.user is None:
            return ""
        # The folder root would use, so that `jobsup status` by root finds the socket without being told.
        folder = f"JOBSUP_SUPERVISOR_RUNTIME_DIR=/run/jobsup/{self.set_name}"
        return f"User={self.user}\nEnvironment={folder}\n"


def word(text: str) -> str:
    """Quote a word of a command line as systemd reads it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if any(mark in text for mark in " \t'\";\\") else escaped
