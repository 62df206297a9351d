"""What a process may take from the host: setrlimit(2)."""

from __future__ import annotations

import resource
from collections.abc import Mapping


def lower_limits(limits: Mapping[int, int]) -> None:
    """Set these limits (RLIMIT_...), soft and hard, as low as this; one that is lower already stays. Raises OSError."""
    for what, most in limits.items():
        hard = resource.getrlimit(what)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, most))
