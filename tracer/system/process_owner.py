"""Whether a process is a user's, by the kernel: what a stranger says of processes is checked here."""

from __future__ import annotations

from pathlib import Path


def runs_under(tgid: int, uid: int) -> bool:
    """Whether a process runs as this user, or in a user namespace in which this user alone has a number of its own:
    without privileges nobody maps another user than oneself (user_namespaces(7)), and a range of subordinate ones
    (newuidmap(1)). False too where it has ended or cannot be read."""
    place = Path(f"/proc/{tgid}")
    try:
        is_ours = place.stat().st_uid == uid
        lines = [line.split() for line in (place / "uid_map").read_text().splitlines()]
    except OSError:
        return False
    return is_ours or any(line[1:] == [str(uid), "1"] for line in lines)
