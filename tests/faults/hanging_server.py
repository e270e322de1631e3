"""``universe2 serve`` with an environment whose ``recv`` never returns after a first row.

For tests that end it: python hanging_server.py.
"""

from __future__ import annotations

import threading

from universe2.cli import serve
from universe2.core.batch import Batch
from universe2.core.spec import EnvConfig
from universe2.server import ServerConfig
from universe2.testing.counting import COUNTING, CountingRuntime


class Hanging(CountingRuntime):
    """Says when it begins to hang."""

    def recv(self, timeout: float | None = None) -> Batch:
        if self._ledger.step.any():
            print("hangs", flush=True)
            threading.Event().wait()
        return super().recv(timeout)


def open_hanging(env_id: str, num_slots: int, config: EnvConfig) -> Hanging:
    assert env_id == COUNTING.id
    return Hanging(COUNTING, num_slots, config)


if __name__ == "__main__":
    serve.END_SECONDS = 0.2
    serve._run(ServerConfig(port=0, drain_seconds=0.1), open_hanging, "hangs", False)
