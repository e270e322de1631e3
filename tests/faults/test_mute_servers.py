"""Addresses that never answer: opening there ends at its own deadline, with a line that says why."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from universe2.client import open_remote, server_info
from universe2.client.stream import METHOD
from universe2.core.errors import CapacityError, DeadlineError, ServerLostError, Universe2Error
from universe2.core.runtime import Runtime
from universe2.server import Server, ServerConfig
from universe2.testing.counting import COUNTING, CountingRuntime

DEADLINE = 2.0
SLACK = 1.5
"""for a machine that is busy; the fault that these tests are of took 20 s"""


@pytest.fixture
def mute() -> Iterator[str]:
    """Takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def hole() -> Iterator[str]:
    """Drops whoever wants to connect: its backlog is full."""
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(4):
            filling = stack.enter_context(socket.socket())
            filling.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filling.connect(listening.getsockname())
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def silent() -> Iterator[str]:
    """Speaks gRPC, and never answers a session's opening or a question."""
    over = threading.Event()

    def session(_requests: object, _context: object) -> Iterator[bytes]:
        over.wait(30.0)
        yield from ()

    def info(_request: object, _context: object) -> bytes:
        over.wait(30.0)
        return b""

    service, _, name = METHOD.strip("/").partition("/")
    methods = {
        name: grpc.stream_stream_rpc_method_handler(session),
        "Info": grpc.unary_unary_rpc_method_handler(info),
    }
    server = grpc.server(ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    over.set()
    server.stop(None).wait(5.0)


def refused_in_time(address: str, call: Callable[[], object]) -> Universe2Error:
    """What ``call`` raises, at its deadline: it names the address, in one line."""
    began = time.monotonic()
    with pytest.raises((DeadlineError, ServerLostError), match=address) as caught:
        call()
    assert time.monotonic() - began < DEADLINE + SLACK
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("kind", ["mute", "hole", "silent"])
def test_an_opening_ends_at_its_deadline_whoever_does_not_answer(
    kind: str, request: pytest.FixtureRequest
) -> None:
    """Although the client is ready to wait in a queue for longer: nobody told it that it is in one. Beside
    a server that answers it goes on without."""
    address = request.getfixturevalue(kind)

    def open_there(*remotes: str) -> Runtime:
        return open_remote(COUNTING.id, 2, None, remotes, open_deadline=DEADLINE)

    error = refused_in_time(address, lambda: open_there(address))
    assert isinstance(error, DeadlineError if kind == "silent" else ServerLostError)
    refused_in_time(address, lambda: server_info(address, timeout=DEADLINE))
    server = Server(
        ServerConfig(port=0, slots=8), lambda _id, slots, how: CountingRuntime(COUNTING, slots, how)
    )
    server.start()
    began = time.monotonic()
    runtime = open_there(server.address, address)
    assert time.monotonic() - began < DEADLINE + SLACK
    assert server.capacity.slots_free == 6
    runtime.close()
    server.stop(1.0)


def test_one_that_never_speaks_is_told_from_one_that_is_not_there(mute: str) -> None:
    error = refused_in_time(mute, lambda: open_remote(COUNTING.id, 2, None, [mute], open_deadline=DEADLINE))
    assert "takes connections and never speaks" in str(error)
    tls = f"tls://{mute}"
    error = refused_in_time(tls, lambda: open_remote(COUNTING.id, 2, None, [tls], open_deadline=DEADLINE))
    assert "no TLS" in str(error)


def test_who_is_in_a_queue_waits_for_longer_than_an_opening_may_take() -> None:
    server = Server(
        ServerConfig(port=0, slots=1), lambda _id, slots, how: CountingRuntime(COUNTING, slots, how)
    )
    server.start()
    first = open_remote(COUNTING.id, 1, None, [server.address])
    began = time.monotonic()
    with pytest.raises(CapacityError):
        open_remote(COUNTING.id, 1, None, [server.address], open_deadline=0.5, wait=1.5)
    assert time.monotonic() - began > 1.2
    threading.Timer(1.0, first.close).start()
    open_remote(COUNTING.id, 1, None, [server.address], open_deadline=0.5, wait=10.0).close()
    server.stop(1.0)
