"""Rows that can't be written: a fault of one environment, whose session and neighbours go on."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from gymnasium import spaces

from universe2.client import open_remote
from universe2.core.batch import Batch, Fault, check_info, info_columns, info_rows
from universe2.core.errors import UnsupportedError, UsageError
from universe2.core.runtime import Runtime
from universe2.core.seeding import next_seed
from universe2.core.spec import EnvConfig
from universe2.runtimes.shared import SlotMemory
from universe2.server import Server, ServerConfig
from universe2.server.parking import ParkingRuntime
from universe2.testing.counting import COUNTING, CountingRuntime
from universe2.wire.buffers import BufferReader
from universe2.wire.infos import read_infos, write_infos
from universe2.wire.values import Opaque


class _Odd(CountingRuntime):
    """What slot 1 returns can't be written, at the steps of ``odd``: 2 an info key, 3 a text, -1 the end."""

    odd: set[int]

    def recv(self, timeout: float | None = None) -> Batch:
        batch = super().recv(timeout)
        infos: list[dict[Any, Any]] = list(info_rows(batch.info, len(batch)))
        notes = list(batch.obs["note"])
        finals: list[dict[Any, Any]] = list(info_rows(batch.final_info, len(batch.final_rows)))
        for row in np.flatnonzero(batch.slots == 1).tolist():
            if batch.step[row] == 2 and 2 in self.odd:
                infos[row][7] = "x"
            if batch.step[row] == 3 and 3 in self.odd:
                notes[row] = "\udc80"
            if row in batch.final_rows and -1 in self.odd:
                finals[batch.final_rows.tolist().index(row)][7] = "x"
        batch.obs["note"] = tuple(notes)
        batch.info, batch.final_info = info_columns(infos), info_columns(finals)
        return batch


class Row(NamedTuple):
    """One row of a batch."""

    note: str
    reward: float
    over: bool
    episode: int
    step: int
    seed: int
    fault: int
    text: str
    final: bool


def rows(runtime: Runtime) -> dict[int, Row]:
    """What became of all three slots, in whatever batches it comes."""
    found: dict[int, Row] = {}
    while len(found) < 3:
        batch = runtime.recv(10.0)
        for row, slot in enumerate(batch.slots.tolist()):
            found[slot] = Row(
                batch.obs["note"][row],
                float(batch.reward[row]),
                bool(batch.ended[row]),
                int(batch.episode[row]),
                int(batch.step[row]),
                int(batch.seed[row]),
                int(batch.fault[row]),
                batch.fault_text.get(row, ""),
                row in batch.final_rows,
            )
    return found


@pytest.mark.parametrize(
    ("autoreset", "odd", "text"),
    [
        ("next_step", {2}, "info 7 can't be sent"),
        ("next_step", {3}, "observation can't be sent: UnicodeEncodeError"),
        ("same_step", {2, -1}, "info 7 can't be sent"),
        ("same_step", {-1}, "final info 7 can't be sent"),
        ("disabled", {2}, "info 7 can't be sent"),
    ],
)
def test_one_row_costs_one_row(autoreset: Any, odd: set[int], text: str) -> None:
    _Odd.odd = odd
    server = Server(ServerConfig(port=0), lambda _id, slots, config: _Odd(COUNTING, slots, config))
    server.start()
    runtime = open_remote(COUNTING.id, 3, EnvConfig(autoreset=autoreset), [server.address])
    alone = CountingRuntime(COUNTING, 3, EnvConfig(autoreset=autoreset))
    (session,) = server._sessions
    before: Row | None = None
    faults = 0
    try:
        for one in (runtime, alone):
            one.reset([0, 1, 2], [4, 5, 6])
        for turn in range(18):
            there, here = rows(runtime), rows(alone)
            assert (there[0], there[2]) == (here[0], here[2])
            odd_row = there[1]
            if before is not None and before.fault:
                begun = odd_row.episode, odd_row.step, odd_row.seed
                assert begun == (before.episode + 1, 0, next_seed(before.seed))
            if odd_row.fault:
                faults += 1
                assert odd_row.fault == Fault.ENVIRONMENT
                assert np.isnan(odd_row.reward)
                assert not odd_row.over
                assert not odd_row.final
                assert odd_row.note == ""
                assert text in odd_row.text
            before = odd_row
            for one, last in ((runtime, there), (alone, here)):
                over = [
                    slot for slot, row in last.items() if autoreset == "disabled" and (row.over or row.fault)
                ]
                going = np.array([slot for slot in range(3) if slot not in over], np.int32)
                if over:
                    one.reset(over, [next_seed(last[slot].seed) for slot in over])
                one.send(going, np.full(len(going), turn % 5))
        assert faults > 1
        assert list(server._sessions) == [session]
    finally:
        runtime.close()
        server.stop(1.0)


def test_where_autoreset_is_disabled_its_next_step_is_refused_as_after_any_fault() -> None:
    _Odd.odd = {2}
    runtime = ParkingRuntime(_Odd(COUNTING, 3, EnvConfig(autoreset="disabled")), max_faults=5)
    runtime.reset([0, 1, 2], [4, 5, 6])
    runtime.recv()
    for _ in range(2):
        runtime.send([0, 1, 2], [0, 0, 0])
        batch = runtime.recv()
    assert runtime.reject(batch).fault.tolist() == [0, Fault.ENVIRONMENT, 0]
    for slots in ([1], [0, 1, 2]):
        with pytest.raises(UsageError, match='slot 1: its episode ended and autoreset is "disabled"'):
            runtime.send(slots, [0] * len(slots))
    runtime.reset([1], [7])
    assert (runtime.recv().step.tolist(), batch.episode.tolist()) == ([0], [0, 0, 0])
    runtime.send([0, 1, 2], [0, 0, 0])
    assert runtime.recv().step.tolist() == [3, 1, 3]


class _Silent(CountingRuntime):
    """Slot 1 fails without a word."""

    def recv(self, timeout: float | None = None) -> Batch:
        batch = super().recv(timeout)
        failed = batch.slots == 1
        batch.fault[failed], batch.reward[failed] = Fault.INFRASTRUCTURE, np.nan
        batch.fault_text = dict.fromkeys(np.flatnonzero(failed).tolist(), "")
        return batch


def test_a_slot_is_parked_whose_fault_says_nothing() -> None:
    server = Server(
        ServerConfig(port=0, max_faults=1), lambda _id, slots, config: _Silent(COUNTING, slots, config)
    )
    server.start()
    runtime = open_remote(COUNTING.id, 2, EnvConfig(), [server.address])
    try:
        runtime.reset([0, 1], [1, 2])
        batch = runtime.recv(10.0)
        assert batch.fault.tolist() == [Fault.NONE, Fault.INFRASTRUCTURE]
        assert "parked after 1 faults" in batch.fault_text[1]
    finally:
        runtime.close()
        server.stop(1.0)


@pytest.mark.parametrize("key", [7, None, ("a", 1), "\ud800"])
def test_keys_that_no_column_can_have_are_refused_where_they_arise(key: Any) -> None:
    check_info({"a": 1, "größe": 2})
    with pytest.raises(UnsupportedError, match="info has the key"):
        check_info({"a": 1, key: 2})


@pytest.mark.parametrize(("value", "error"), [("\udc80", ValueError), (7, TypeError)])
def test_texts_that_cannot_be_encoded_are_refused_where_they_arise(value: Any, error: Any) -> None:
    memory = SlotMemory(spaces.Dict({"note": spaces.Text(8)}), 1, 1, False)
    assert memory.write(memory.current, 0, {"note": "fine"}) == ["fine"]
    with pytest.raises(error, match="observation/note"):
        memory.write(memory.current, 0, {"note": value})


def test_long_doubles_arrive_as_what_they_printed() -> None:
    columns = info_columns([{"x": np.longdouble(0.5)}, {}])
    buffers: list[Any] = []
    messages = write_infos(columns, buffers)
    (value, nothing), mask = read_infos(messages, 2, BufferReader([bytes(b) for b in buffers]))["x"]
    assert (type(value), nothing, mask.tolist()) == (Opaque, None, [True, False])
