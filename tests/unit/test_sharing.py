"""Shared memory between a server and a client on one machine: proved, bounded, gone with its last user."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

import universe2
from universe2.client import open_remote
from universe2.client.connection import Connection
from universe2.core import shareable
from universe2.core.batch import Batch
from universe2.core.errors import ProtocolError
from universe2.core.spec import EnvConfig, EnvSpec
from universe2.server import Server, ServerConfig
from universe2.testing.counting import COUNTING, CountingRuntime
from universe2.wire.frames import Frame
from universe2.wire.sharing import Borrower, Lender
from universe2.wire.sockets import MessageSocket
from universe2.wire.v1 import universe_pb2 as pb


def test_an_array_is_found_by_its_place_and_only_while_it_lives() -> None:
    array = shareable.zeros((4, 100), np.uint8)
    found = shareable.find(array)
    assert found is not None
    region, offset = found
    assert offset == shareable.DATA_AT
    assert shareable.find(array[1:3]) == (region, offset + 100)
    assert shareable.find(np.zeros(8)) is None
    array[:] = 7
    assert os.pread(region.fd, 3, offset) == b"\7\7\7"
    with pytest.raises(PermissionError):
        os.ftruncate(region.fd, 10)
    view = array[2]
    del array
    assert shareable.find(view) is not None
    del view
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(region.fd)


def test_memory_that_another_thread_takes_over_at_once_is_known_by_its_new_file() -> None:
    """Many threads give regions back and get others, often at the same address."""

    def churn() -> None:
        for _ in range(1000):
            array = shareable.zeros((5000,), np.uint8)
            found = shareable.find(array[100:])
            assert found is not None
            region, offset = found
            assert offset == shareable.DATA_AT + 100
            assert os.pread(region.fd, shareable.SECRET_BYTES, 0) == region.secret

    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(churn) for _ in range(4)]:
            done.result(60)


def lent(array: np.ndarray) -> tuple[Lender, pb.Offer]:
    lender = Lender()
    offers = lender.lend(pb.Header(), [array])
    return lender, offers[0].offer


def test_both_sides_prove_what_they_see() -> None:
    array = shareable.zeros((2, 5000), np.uint8)
    array[1] = 9
    lender, offer = lent(array)
    borrower = Borrower()
    lender.answered(borrower.answer(offer))
    header, buffers = pb.Header(), [array[1:]]
    assert lender.lend(header, buffers) == []
    assert buffers == [b""]
    frame = Frame(header, [memoryview(b"")])
    borrower.resolve(frame)
    assert bytes(frame.buffers[0]) == b"\t" * 5000
    assert frame.buffers[0].readonly


def test_what_is_not_proved_stays_in_the_frame() -> None:
    array = shareable.zeros((5000,), np.uint8)
    lender, offer = lent(array)
    elsewhere = pb.Offer()
    elsewhere.CopyFrom(offer)
    elsewhere.digest = hashlib.sha256(b"another secret").digest()
    for wrong in (elsewhere, pb.Offer(pid=1, fd=999_999, bytes=10), pb.Offer(pid=os.getpid(), fd=0, bytes=9)):
        assert not Borrower().answer(wrong).proof
    with pytest.raises(ProtocolError, match="proof"):
        lender.answered(pb.Attach(region=offer.region, proof=b"x" * 32))
    with pytest.raises(ProtocolError, match="not offered"):
        lender.answered(pb.Attach(region=77))
    header, buffers = pb.Header(), [array]
    assert lender.lend(header, buffers) == []
    assert buffers[0] is array


def test_a_reference_beyond_what_is_seen_is_refused() -> None:
    array = shareable.zeros((5000,), np.uint8)
    _, offer = lent(array)
    borrower = Borrower()
    borrower.answer(offer)
    for shared in (
        pb.SharedBuffer(region=9, bytes=1),
        pb.SharedBuffer(region=offer.region, offset=2**63, bytes=2**63),
        pb.SharedBuffer(region=offer.region, bytes=1, buffer=4),
    ):
        with pytest.raises(ProtocolError):
            borrower.resolve(Frame(pb.Header(shared=[shared]), [memoryview(b"")]))


class _Shared(CountingRuntime):
    """Observations of 40 kB in memory that can be shared; each byte is the slot's step."""

    def __init__(self, spec: EnvSpec, num_slots: int, config: EnvConfig) -> None:
        super().__init__(spec, num_slots, config)
        self.observation_space = spaces.Box(0, 255, (40_000,), np.uint8)
        self._frames = shareable.zeros((num_slots, 40_000), np.uint8)

    def recv(self, timeout: float | None = None) -> Batch:
        batch = super().recv(timeout)
        self._frames[batch.slots] = batch.step[:, None]
        batch.obs = self._frames[batch.slots[0] : batch.slots[-1] + 1]
        return batch


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server(
        ServerConfig(port=0, slots=8), lambda _id, slots, config: _Shared(COUNTING, slots, config)
    )
    server.start()
    yield server
    server.stop(1.0)


@pytest.mark.parametrize(("shared", "codec"), [(True, "raw"), (False, "raw"), (False, "delta")])
def test_a_client_on_this_machine_reads_the_servers_memory(server: Server, shared: bool, codec: str) -> None:
    runtime: Any = open_remote(COUNTING.id, 4, EnvConfig(), [server.address], same_host=shared, codec=codec)
    connection: Connection = runtime._parts[0].lane.connection
    runtime.reset(range(4), [4] * 4)
    runtime.recv(5.0)
    for step in range(1, 4):
        runtime.send(range(4), [0] * 4)
        batch = runtime.recv(5.0)
        assert (batch.obs == step).all()
        assert not batch.obs.flags.writeable
    assert bool(connection._borrower._regions) == shared
    runtime.close()


def test_a_stream_that_breaks_before_the_offer_costs_the_memory_not(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    send, broken = MessageSocket.send, threading.Event()

    def breaks_once(connection: MessageSocket, message: bytes) -> None:
        if len(message) > 100_000 and not broken.is_set():  # the first batch
            broken.set()
            connection.close()
            raise BrokenPipeError("cut")
        send(connection, message)

    monkeypatch.setattr(MessageSocket, "send", breaks_once)
    runtime: Any = open_remote(COUNTING.id, 4, EnvConfig(), [server.address], codec="raw")
    connection: Connection = runtime._parts[0].lane.connection
    runtime.reset(range(4), [4] * 4)
    for step in range(4):
        batch = runtime.recv(20.0)
        assert (batch.fault.tolist(), batch.obs[:, 0].tolist()) == ([0] * 4, [step] * 4)
        runtime.send(range(4), [0] * 4)
    assert broken.is_set()
    assert connection._borrower._regions
    runtime.close()


def named_files(pid: int) -> set[str]:
    """What a process holds or maps that has a name, by which it could be left behind.

    Not its own program and libraries, which may lie there too.
    """
    proc = Path(f"/proc/{pid}")
    mapped = {line.split()[-1] for line in (proc / "maps").read_text().splitlines()}
    held = set()
    for fd in (proc / "fd").iterdir():
        with contextlib.suppress(OSError):
            held.add(os.readlink(fd))
    found = {name for name in mapped | held if name.startswith(("/dev/shm/", "/tmp/", "/run/"))}
    program = (sys.prefix, sys.base_prefix, str(Path(universe2.__file__).resolve().parents[1]))
    return {name for name in found if not name.endswith("(deleted)") and not name.startswith(program)}


def sockets(address: str) -> list[str]:
    """Names of the abstract sockets by which servers' clients on this machine go on, that still listen."""
    lines = Path("/proc/net/unix").read_text().splitlines()
    return [line for line in lines if line.endswith(f"@{address}")]


def test_nothing_is_left_when_the_server_is_killed() -> None:
    code = (
        "import time\nfrom universe2.server import Server, ServerConfig\n"
        "from test_sharing import _Shared\nfrom universe2.testing.counting import COUNTING\n"
        "s = Server(ServerConfig(port=0), lambda _i, n, c: _Shared(COUNTING, n, c))\n"
        "s.start()\nprint(s.address, flush=True)\ntime.sleep(60)\n"
    )
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {here!r})\n{code}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        runtime: Any = open_remote(COUNTING.id, 2, EnvConfig(), [address])
        runtime.reset([0, 1], [4, 4])
        runtime.recv(5.0)
        runtime.send([0, 1], [0, 0])
        batch = runtime.recv(5.0)
        connection: Connection = runtime._parts[0].lane.connection
        assert connection._borrower._regions  # it is in use, and yet nothing of it has a name
        assert named_files(process.pid) == set()
        door = connection.opened.local_socket
        assert sockets(door)
        process.kill()
        process.wait(10)
        assert (batch.obs == 1).all()  # what was received stays readable
        runtime.close()
        assert sockets(door) == []
