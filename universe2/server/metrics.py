"""What a server counts, for Prometheus. Nobody's behaviour depends on it.

Step time is from the request that reaches the runtime to its result; how long a client waited for
slots, and how long a result waited for a client to take it, are counted apart.
"""

from __future__ import annotations

import contextlib
import threading
from typing import cast
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from universe2.core.batch import Batch, Fault
from universe2.core.errors import UsageError
from universe2.server.capacity import Capacity

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0)


IDLE_SECONDS = 10.0
"""A connection to the metrics' port that says nothing for so long is closed: each has a thread."""


def _impatient(handler: type[WSGIRequestHandler]) -> type[WSGIRequestHandler]:
    """The same, which doesn't wait for ever."""

    class Impatient(handler):  # type: ignore[misc,valid-type]
        timeout = IDLE_SECONDS

        def handle(self) -> None:
            with contextlib.suppress(TimeoutError):
                super().handle()

    return Impatient


class Metrics:
    """One server's numbers, in a registry of its own."""

    def __init__(self, capacity: Capacity) -> None:
        self.registry = registry = CollectorRegistry()
        self._serving: tuple[WSGIServer, threading.Thread] | None = None
        gauges = {
            "sessions_open": ("Sessions that are open", lambda: capacity.sessions_open),
            "slots_taken": ("Slots that are lent", lambda: capacity.slots - capacity.slots_free),
            "slots_total": ("Slots that can be lent", lambda: capacity.slots),
            "clients_waiting": ("Clients in the queue for slots", lambda: capacity.waiting),
        }
        for name, (text, value) in gauges.items():
            Gauge(f"universe2_{name}", text, registry=registry).set_function(value)
        self.steps = Counter("universe2_steps", "Rows that came out of runtimes", registry=registry)
        self.faults = Counter("universe2_faults", "Rows with a fault", ["kind"], registry=registry)
        for kind in Fault:
            if kind is not Fault.NONE:  # there from the start: nobody sees a number rise that begins at 1
                self.faults.labels(kind.name.lower())
        self.restarts = Counter("universe2_restarts", "Slots begun anew after a fault", registry=registry)
        self.parked = Counter("universe2_parked", "Slots given up after too many faults", registry=registry)
        self.resumed = Counter("universe2_resumed", "Sessions taken up on another stream", registry=registry)
        self.reaped = Counter("universe2_reaped", "Sessions ended for their silence", registry=registry)
        self.bytes = Counter("universe2_bytes", "Bytes on session streams", ["direction"], registry=registry)
        self.bytes_in = self.bytes.labels("in")
        self.bytes_out = self.bytes.labels("out")
        self.step_seconds = self._histogram("step_seconds", "From a request to its result from the runtime")
        self.slot_wait_seconds = self._histogram("slot_wait_seconds", "Clients' wait in the queue for slots")
        self.reply_wait_seconds = self._histogram("reply_wait_seconds", "Results' wait for the client")

    def _histogram(self, name: str, text: str) -> Histogram:
        return Histogram(f"universe2_{name}", text, buckets=_SECONDS, registry=self.registry)

    def batch(self, batch: Batch) -> None:
        """Count a batch's rows and faults."""
        self.steps.inc(len(batch))
        if np.count_nonzero(batch.fault):
            for kind in batch.fault[batch.fault != 0].tolist():
                self.faults.labels(Fault(kind).name.lower()).inc()

    def serve(self, host: str, port: int) -> None:
        """Over HTTP, at /metrics, in a daemon thread."""
        try:
            self._serving = start_http_server(port, host, self.registry)
        except OSError as error:
            raise UsageError(f"cannot serve metrics on {host}:{port}: {error.strerror}") from None
        server, _ = self._serving
        server.RequestHandlerClass = _impatient(cast(type[WSGIRequestHandler], server.RequestHandlerClass))

    def close(self) -> None:
        """Serve them no more. May be called twice."""
        if self._serving is None:
            return
        server, thread = self._serving
        self._serving = None
        server.shutdown()
        server.server_close()
        thread.join()
