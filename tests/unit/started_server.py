"""A server in this process, who may use it and what it has counted."""

from __future__ import annotations

from typing import Any

from universe2.server import Server, ServerConfig

ALICE, BOB = "alice-token-of-16+", "bob-token-of-16-and-more"


def start(opened: Any = None, **config: Any) -> Server:
    settings = ServerConfig(**{"port": 0, "slots": 8, **config})
    server = Server(settings) if opened is None else Server(settings, opened)
    server.start()
    return server


def metric(server: Server, name: str, **labels: str) -> float:
    return server.metrics.registry.get_sample_value(f"universe2_{name}", labels) or 0.0
