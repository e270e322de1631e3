"""What waits on the server for a client that asks and doesn't read, or doesn't wait: bounded by its bytes."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from raw_client import Raw, ints, start
from waiting import eventually

from universe2.server import Server
from universe2.server.backlog import Backlog
from universe2.testing.counting import COUNTING, CountingRuntime
from universe2.wire.v1 import universe_pb2 as pb

FRAME = 2**22


def test_it_is_full_by_number_or_by_bytes() -> None:
    backlog = Backlog(3, 100)
    assert [backlog.add(40), backlog.add(40), backlog.add(40), backlog.add(20), backlog.add(0)] == [
        *(True, True, False, True, False)
    ]
    backlog.remove(40)
    assert str(backlog) == "2 of 60 bytes, where 3 of 100 may"
    assert not backlog.add(41)
    assert backlog.add(40)


def test_a_single_one_may_be_of_any_size() -> None:
    backlog = Backlog(3, 100)
    assert backlog.add(1000)
    assert not backlog.add(1)
    assert str(backlog) == "1 of 1000 bytes, where 3 of 100 may"


class _Large(CountingRuntime):
    """A snapshot of it takes a third of a frame, and as long as it is not told to go on."""

    go = threading.Event()
    taken = 0

    def snapshot(self, slots: Sequence[int] | np.ndarray) -> list[bytes]:
        assert self.go.wait(20.0)
        _Large.taken += 1
        return [bytes(FRAME // 3) for _ in slots]


@pytest.fixture
def server() -> Iterator[Server]:
    _Large.go.clear()
    _Large.taken = 0
    server = start(
        lambda _id, slots, config: _Large(COUNTING, slots, config),
        max_message_bytes=FRAME,
        max_frame_bytes=FRAME,
    )
    yield server
    _Large.go.set()
    server.stop(1.0)


def test_who_asks_and_reads_nothing_is_cut_off_by_bytes(server: Server) -> None:
    """Long before 1,024 replies wait."""
    _Large.go.set()
    with Raw(server.address) as client:
        client.open()
        (session,) = server._sessions.values()
        for _ in range(300):
            client.say(ints(0), snapshot=pb.Snapshot())
        assert eventually(lambda: session._reader is not None and not session._reader.is_alive())
        error, _ = _until_it_is_over(client)
    assert error.type == "ProtocolError"
    assert _Large.taken < 20, "the others would have been kept for it"


def test_what_waits_behind_a_snapshot_is_cut_off_by_bytes(server: Server) -> None:
    """The session has several members, so that a slow one's requests are carried out aside."""
    with Raw(server.address) as client:
        one = {"env_id": COUNTING.id, "interface": "native", "autoreset": "next_step", "num_slots": 1}
        client.open(more=[pb.Open(**one)])
        client.say(ints(0), snapshot=pb.Snapshot())
        for _ in range(300):
            client.say(ints(0), bytes(FRAME // 3), restore=pb.Restore())
        error, replies = _until_it_is_over(client)
    assert error.type == "ProtocolError"
    assert "doesn't wait for what is asked before: 6 of" in error.message
    assert replies == 0


def _until_it_is_over(client: Raw) -> tuple[pb.Error, int]:
    """What the server says last, and how many replies came before."""
    *replies, last = (reply.header for reply in client.replies)
    return last.error, len(replies)
