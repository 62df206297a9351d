"""The agent as a unit of systemd: its text, and how it is installed and removed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tracer.agent.config import Config
from tracer.agent.config_reader import DEFAULT
from tracer.errors import ExitCode, NstraceError
from tracer.system.privileges import more_rights

NAME = "nstrace.service"
PATH = Path("/etc/systemd/system") / NAME
# What the loader, the broker and the connector need (docs/security.md); the reader keeps none of it.
_CAPABILITIES = (
    "CAP_BPF CAP_PERFMON CAP_SYS_ADMIN CAP_SYS_PTRACE CAP_SYS_CHROOT CAP_SETUID CAP_SETGID CAP_SETPCAP CAP_DAC_OVERRIDE"
    " CAP_DAC_READ_SEARCH CAP_KILL"
)
_TEXT = """\
# Made by nstrace agent install.
[Unit]
Description=nstrace: records which process had which PID
Documentation=man:systemd.service(5)
After=local-fs.target

[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
ExecReload=/bin/kill -HUP $MAINPID
WatchdogSec=90
Restart=on-failure
RestartSec=1
TimeoutStartSec=5min
TimeoutStopSec=20
OOMScoreAdjust=-500
UMask=0077
{folders}
CapabilityBoundingSet={capabilities}
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
RestrictAddressFamilies={families}
{network}
RestrictNamespaces=pid
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service bpf seccomp chroot
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""


def text_of(config: Config, named: str | None) -> str:
    """The unit's text. named: what --config says."""
    words = [_executable(), "agent", *(["--config", str(Path(named).resolve())] if named else [])]
    runs_commands = any(trigger.run for trigger in config.triggers)
    has_network = config.publish is not None or config.metrics is not None or runs_commands
    folder = config.record.folder
    state = "StateDirectory=nstrace\nStateDirectoryMode=0700" if folder == Path("/var/lib/nstrace") else ""
    return _TEXT.format(
        command=" ".join(map(_quoted, words)),
        folders="\n".join(filter(None, [state or f"ReadWritePaths={folder.parent}", "CacheDirectory=nstrace"])),
        capabilities=_CAPABILITIES,
        families="AF_UNIX AF_INET AF_INET6" if has_network else "AF_UNIX",
        network="" if has_network else "PrivateNetwork=yes\nIPAddressDeny=any",
    ).replace("\n\n\n", "\n\n")


def install(config: Config, named: str | None) -> None:
    """Write the unit, and have it started now and with the system. Raises NstraceError."""
    _check_systemd()
    text = text_of(config, named)
    try:
        PATH.write_text(text)
        PATH.chmod(0o644)
    except OSError as error:
        raise _unwritable(error) from error
    _systemctl("daemon-reload")
    _systemctl("enable", "--quiet", NAME)
    _systemctl("restart", NAME)


def uninstall() -> None:
    """End it, and remove the unit; what it has recorded stays. Raises NstraceError."""
    _check_systemd()
    if not PATH.exists():
        raise NstraceError(f"there is no {PATH}", "nstrace agent status says whether an agent runs")
    _systemctl("disable", "--quiet", "--now", NAME)
    try:
        PATH.unlink()
    except OSError as error:
        raise _unwritable(error) from error
    _systemctl("daemon-reload")


def _executable() -> str:
    """The command that runs us, as systemd needs it."""
    beside = Path(sys.executable).with_name("nstrace")
    found = str(beside) if beside.exists() else shutil.which("nstrace")
    if not found:
        raise NstraceError("the command nstrace is not found", "put it into PATH, then run this again")
    return found


def _quoted(word: str) -> str:
    """A word as systemd.service(5) reads it."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if any(letter.isspace() for letter in word) else escaped


def _check_systemd() -> None:
    if not Path("/run/systemd/system").is_dir() or not shutil.which("systemctl"):  # sd_booted(3)
        hint = f"nstrace agent records in the foreground, under any supervisor; {DEFAULT} is its configuration"
        raise NstraceError("systemd does not run here", hint)


def _systemctl(*words: str) -> None:
    done = subprocess.run(["systemctl", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        message = f"systemctl {' '.join(words)} failed: {said[0] if said else done.returncode}"
        hint = more_rights("CAP_SYS_ADMIN") if os.geteuid() else f"journalctl -u {NAME} says why"
        raise NstraceError(message, hint)


def _unwritable(error: OSError) -> NstraceError:
    code = ExitCode.NOT_PERMITTED if isinstance(error, PermissionError) else ExitCode.FAILURE
    return NstraceError(f"{PATH} cannot be written: {error.strerror}", more_rights("CAP_DAC_OVERRIDE"), code)
