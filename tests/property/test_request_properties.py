"""Whatever a client asks is answered or refused by one of our errors, and what is refused moves nothing.

Straight through the functions that decode requests; tests/faults/test_garbage_on_a_stream.py sends
garbage to a server.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from gymnasium import spaces
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wire_samples import CELLS, RICH, mutated

from universe2.core import shareable
from universe2.core.errors import ProtocolError, Universe2Error, UsageError
from universe2.core.registry import find
from universe2.core.spaces import check_actions, stack
from universe2.core.spec import EnvConfig, EnvSpec
from universe2.runtimes import open_runtime
from universe2.server.opening import read_asks
from universe2.server.requests import HANDLERS
from universe2.testing.counting import COUNTING, CountingRuntime
from universe2.wire.buffers import Buffer
from universe2.wire.columns import write_values
from universe2.wire.frames import decode, encode
from universe2.wire.sharing import Lender
from universe2.wire.v1 import universe_pb2 as pb
from universe2.wire.values import write_value

QUICK = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
SLOTS = 4


class _Able(CountingRuntime):
    """Takes actions of a space with everything in it, and can be snapshotted: the state is the step."""

    def __init__(self, spec: EnvSpec, num_slots: int, config: EnvConfig) -> None:
        super().__init__(spec, num_slots, config)
        self.action_space: spaces.Space[Any] = RICH

    def send(self, slots: Sequence[int] | np.ndarray, actions: Any) -> None:
        check_actions(self.action_space, actions, self._ledger.check_slots(slots))
        slots_K, _ = self._ledger.begin_step(slots)
        if len(slots_K):
            self._todo.put((slots_K, np.zeros(len(slots_K), np.int64)))

    def snapshot(self, slots: Sequence[int] | np.ndarray) -> list[bytes]:
        slots_K = self._ledger.check_slots(slots)
        self._ledger.check_idle(slots_K)
        return [bytes([int(self._ledger.step[slot])]) for slot in slots_K]

    def restore(self, slots: Sequence[int] | np.ndarray, states: Sequence[bytes]) -> None:
        slots_K = self._ledger.check_slots(slots)
        if any(len(state) != 1 for state in states):
            raise UsageError("not a snapshot")
        steps_K = np.array([state[0] for state in states], np.int64)
        self._ledger.begin_restore(slots_K, steps_K, self._ledger.seed[slots_K])
        if len(slots_K):
            self._todo.put((slots_K, None))

    def place(self) -> list[Any]:
        """Where every slot is."""
        ledger = self._ledger
        return [a.tolist() for a in (ledger.episode, ledger.step, ledger.seed, ledger.phase)]


def begun() -> _Able:
    runtime = _Able(COUNTING, SLOTS, EnvConfig())
    runtime.reset(range(SLOTS), range(SLOTS))
    runtime.recv()
    return runtime


def actions_of(count: int, seed: int) -> list[Buffer]:
    RICH.seed(seed)
    out: list[Buffer] = []
    write_values(RICH, stack(RICH, [RICH.sample() for _ in range(count)]), out)
    return out


@st.composite
def sound(draw: Any) -> tuple[str, pb.Header, list[bytes]]:
    """A request as it should be: its kind, header and buffers."""
    slots = draw(st.permutations(range(SLOTS)))[: draw(st.integers(0, SLOTS))]
    kind = draw(st.sampled_from(sorted(HANDLERS)))
    parts: list[Buffer] = [] if kind == "heartbeat" else [np.array(slots, "<i4")]
    if kind == "reset":
        seeds = draw(st.lists(st.integers(-2, 2**63 - 1), min_size=len(slots), max_size=len(slots)))
        parts.append(np.array(seeds, "<i8"))
    elif kind == "send":
        parts += actions_of(len(slots), draw(st.integers(0, 2**31 - 1)))
    elif kind == "restore":
        parts += [draw(st.binary(min_size=1, max_size=2)) for _ in slots]
    header = pb.Header(sequence=1, **{kind: _BODIES[kind]()})
    if kind == "render":
        header.render.height = draw(st.one_of(st.sampled_from([0, 8, 64]), st.integers(0, 2**32 - 1)))
        header.render.width = draw(st.one_of(st.sampled_from([0, 8, 64]), st.integers(0, 2**32 - 1)))
    return kind, header, [np.asarray(p).tobytes() if isinstance(p, np.ndarray) else bytes(p) for p in parts]


_BODIES: dict[str, Any] = {
    "reset": pb.Reset,
    "send": pb.Send,
    "snapshot": pb.Snapshot,
    "restore": pb.Restore,
    "render": pb.Render,
    "heartbeat": pb.Heartbeat,
}


@st.composite
def damaged(draw: Any) -> tuple[str, pb.Header, list[bytes]]:
    """A request with some of its buffers lost, repeated, exchanged, replaced, cut, prolonged or poked."""
    kind, header, buffers = draw(sound())
    for _ in range(draw(st.integers(1, 3))):
        if not buffers:
            buffers.append(draw(st.binary(max_size=16)))
            continue
        at = draw(st.integers(0, len(buffers) - 1))
        raw = buffers[at]
        match draw(st.integers(0, 6)):
            case 0:
                del buffers[at]
            case 1:
                buffers.insert(at, raw)
            case 2:
                other = draw(st.integers(0, len(buffers) - 1))
                buffers[at], buffers[other] = buffers[other], raw
            case 3:
                buffers[at] = draw(st.binary(max_size=40))
            case 4:
                buffers[at] = raw[: draw(st.integers(0, len(raw)))]
            case 5:
                buffers[at] = raw + draw(st.binary(min_size=1, max_size=9))
            case _:
                places = st.integers(0, max(len(raw) - 1, 0))
                poked = bytearray(raw or b"\0")
                poked[draw(places)] = draw(st.integers(0, 255))
                buffers[at] = bytes(poked)
    return kind, header, buffers


def asked(kind: str, message: bytes) -> bool:
    """Ask for it; is it refused? Whatever is left over, the runtime goes on."""
    runtime = begun()
    before = runtime.place()
    try:
        outcome = HANDLERS[kind](runtime, decode(message))
    except Universe2Error:
        assert runtime.place() == before, "refused, and yet something moved"
        refused = True
    else:
        refused = False
        owed = outcome if isinstance(outcome, int) else 0
        while owed > 0:
            owed -= len(runtime.recv())
        assert owed == 0
    runtime.reset(range(SLOTS), range(SLOTS))
    assert len(runtime.recv()) == SLOTS
    return refused


@QUICK
@given(sound())
def test_sound_requests_are_understood(request_: tuple[str, pb.Header, list[bytes]]) -> None:
    kind, header, buffers = request_
    refused = asked(kind, encode(header, buffers))
    if kind == "send":
        assert not refused


@QUICK
@given(damaged())
def test_damaged_requests_are_refused_or_answered(request_: tuple[str, pb.Header, list[bytes]]) -> None:
    kind, header, buffers = request_
    asked(kind, encode(header, buffers))


@QUICK
@given(sound(), st.randoms(use_true_random=False))
def test_messages_with_other_bytes_are_refused_or_answered(
    request_: tuple[str, pb.Header, list[bytes]], rng: Any
) -> None:
    _, header, buffers = request_
    message = mutated(encode(header, buffers), rng)
    try:
        found = decode(message).header.WhichOneof("body")
    except ProtocolError:
        return
    if found in HANDLERS:
        asked(found, message)


TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)


@QUICK
@given(
    st.fixed_dictionaries(
        {
            "protocol": st.sampled_from([1, 1, 1, 0, 9]),
            "env_id": st.one_of(st.just(COUNTING.id), TEXTS),
            "interface": st.one_of(st.sampled_from(["native", "screen"]), TEXTS),
            "autoreset": st.one_of(st.sampled_from(["next_step", "same_step", "disabled"]), TEXTS),
            "num_slots": st.sampled_from([0, 1, 2**32 - 1]),
            "screen_height": st.integers(0, 2**32 - 1),
            "screen_width": st.sampled_from([0, 8, 64, 4000]),
            "lossy": st.one_of(st.just(""), st.sampled_from(["jpeg-90", "webp-0", "png"]), TEXTS),
        }
    ),
    st.dictionaries(TEXTS, CELLS, max_size=3),
)
def test_what_is_asked_at_opening_is_checked(fields: dict[str, Any], options: dict[str, Any]) -> None:
    ask = pb.Open(**fields, options={name: write_value(value) for name, value in options.items()})
    try:
        ((_, config),) = read_asks(pb.Open.FromString(ask.SerializeToString()))
    except Universe2Error:
        return
    assert config.interface in ("native", "screen")
    assert set(config.options) == set(ask.options)


SOUND_OPEN = pb.Open(
    protocol=1,
    env_id=COUNTING.id,
    interface="native",
    autoreset="next_step",
    num_slots=2,
    options={"x": write_value({"a": [1, (2.0, None)], "b": np.arange(3)}), "y": write_value(np.float32(1))},
).SerializeToString()


@QUICK
@given(st.randoms(use_true_random=False))
def test_options_with_other_bytes_are_refused_or_read(rng: Any) -> None:
    try:
        read_asks(pb.Open.FromString(mutated(SOUND_OPEN, rng)))
    except (Universe2Error, DecodeError):
        return


FAMILIES = ["arcade/Breakout-v0", "arcade/Cycles-v0", "atari/Pong-v0"]


@settings(QUICK, max_examples=60)
@given(st.data())
@pytest.mark.parametrize("env_id", FAMILIES)
def test_options_of_any_kind_open_a_game_or_are_named(env_id: str, data: Any) -> None:
    spec = find(env_id)
    name = data.draw(st.sampled_from(sorted(spec.options)))
    value = data.draw(st.one_of(CELLS, st.integers(-3, 3), st.floats(-2, 2)))
    try:
        runtime = open_runtime(spec, 1, EnvConfig(options={name: value}))
    except UsageError as error:
        refusal = str(error)
    else:
        refusal = name
        runtime.reset([0], [0])
        runtime.recv(60.0)
        runtime.close()
    assert name in refusal


@settings(QUICK, max_examples=60)
@given(st.data())
@pytest.mark.parametrize("env_id", ["gymnasium/CartPole-v1", "web/click-test-2-v0"])
def test_options_of_any_kind_have_spaces_or_are_named(env_id: str, data: Any) -> None:
    """What can be known of them before a process or a browser is started."""
    spec = find(env_id)
    name = data.draw(st.sampled_from(sorted(spec.options)))
    value = data.draw(st.one_of(CELLS, st.integers(-3, 3), st.floats(-2, 2)))
    config = EnvConfig(options={name: value})
    try:
        spec.hash(config)
        spec.spaces(config)
    except UsageError as error:
        refusal = str(error)
    else:
        refusal = name
    assert name in refusal


@QUICK
@given(st.integers(0, 2**32 - 1), st.binary(max_size=40))
def test_answers_to_offers_are_checked(region: int, proof: bytes) -> None:
    array = shareable.zeros((5000,), np.uint8)
    lender = Lender()
    (offer,) = lender.lend(pb.Header(), [array])
    for number in (region, offer.offer.region):
        try:
            lender.answered(pb.Attach(region=number, proof=proof))
        except ProtocolError:
            continue
    header = pb.Header()
    lender.lend(header, [array])
    assert not header.shared  # nobody guesses 32 bytes
