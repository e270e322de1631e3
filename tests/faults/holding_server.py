"""A server in a process of its own, for tests that kill it: python holding_server.py HOLD_FILE PORT.

Serves the environment that numbers its steps. While HOLD_FILE exists no result is returned. Prints
its address once it accepts calls.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from universe2.core.batch import Batch
from universe2.core.errors import DeadlineError
from universe2.core.spec import EnvConfig
from universe2.server import Server, ServerConfig
from universe2.server.service import serve_forever
from universe2.testing.counting import COUNTING, CountingRuntime


class Holding(CountingRuntime):
    """Returns nothing while the file exists."""

    hold = Path()

    def recv(self, timeout: float | None = None) -> Batch:
        if self.hold.exists():
            threading.Event().wait(0.02)
            raise DeadlineError("held")
        return super().recv(timeout)


def open_holding(env_id: str, num_slots: int, config: EnvConfig) -> Holding:
    assert env_id == COUNTING.id
    return Holding(COUNTING, num_slots, config)


def main(hold: str, port: str) -> None:
    Holding.hold = Path(hold)
    server = Server(ServerConfig(port=int(port), slots=16), open_holding)
    serve_forever(server, threading.Event(), lambda ready: print(ready.address, flush=True))


if __name__ == "__main__":
    main(*sys.argv[1:])
