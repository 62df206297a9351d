"""The reader's side of loading, where the child fails it."""

from pathlib import Path

import pytest

from tracer.errors import NstraceError
from tracer.kernel import loader_client
from tracer.kernel.options import LoadOptions

HANGS = "print('its words', flush=True); import time; time.sleep(600)"
ENDS = "print('its words')"


@pytest.mark.parametrize(("child", "why"), [(HANGS, "timed out"), (ENDS, "")])
def test_a_child_that_does_not_answer_is_an_error(child: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader_client, "_TIMEOUT_S", 0.5)
    monkeypatch.setattr(loader_client, "_START", child)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with (
        loader_client.Loading(LoadOptions()) as loading,
        pytest.raises(NstraceError, match=f"loader .* failed: .*{why}") as caught,
    ):
        loading.wait()
    if child == HANGS:
        assert "its words" in caught.value.detail
    assert len(list(Path("/proc/self/fd").iterdir())) == before
