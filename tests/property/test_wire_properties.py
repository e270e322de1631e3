"""What goes over the wire comes back to the bit; garbage is a ProtocolError and nothing else."""

from __future__ import annotations

import random
import resource
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wire_samples import CELLS, RICH, SPACES, mutated

from universe2.core.batch import Batch, Column, info_columns
from universe2.core.errors import ProtocolError
from universe2.core.spaces import stack
from universe2.wire.batches import read_batch, write_batch
from universe2.wire.buffers import Buffer, BufferReader, dtype_named
from universe2.wire.codecs import Coder, agree
from universe2.wire.columns import read_values, write_values
from universe2.wire.frames import CHUNK_OVERHEAD, Assembler, Frame, chunks, decode, encode
from universe2.wire.infos import read_infos, write_infos
from universe2.wire.schema import read_space, write_space
from universe2.wire.sharing import Borrower
from universe2.wire.v1 import space_pb2, value_pb2
from universe2.wire.v1 import universe_pb2 as pb
from universe2.wire.values import read_value, write_value

QUICK = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def same(a: Any, b: Any) -> bool:
    """Equal to the bit, NaN included; arrays must agree in dtype and shape too."""
    if isinstance(a, (np.ndarray, np.generic)) and isinstance(b, (np.ndarray, np.generic)):
        x, y = np.asarray(a), np.asarray(b)
        if x.dtype == object:
            return x.shape == y.shape and all(map(same, x.tolist(), y.tolist()))
        return x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (tuple, list)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float):
        return np.float64(a).tobytes() == np.float64(b).tobytes()
    return bool(a == b)


def through(buffers: list[Buffer]) -> list[memoryview]:
    """Buffers as they arrive."""
    return decode(encode(pb.Header(sequence=1, heartbeat=pb.Heartbeat()), buffers)).buffers


def poisoned(value: Any, rng: random.Random) -> Any:
    """Some float arrays get a NaN with a payload, to see that its bits survive."""
    if isinstance(value, np.ndarray) and value.dtype == np.float64 and value.size and rng.random() < 0.5:
        value = value.copy()
        value.reshape(-1).view(np.uint64)[0] = 0x7FF8000000000123
    return value


@QUICK
@given(SPACES)
def test_spaces_come_back(space: spaces.Space[Any]) -> None:
    message = space_pb2.Space.FromString(write_space(space).SerializeToString())
    again = read_space(message)
    assert again == space
    assert write_space(again) == write_space(space)
    assert repr(again) == repr(space)


@QUICK
@given(SPACES, st.integers(0, 5), st.integers(0, 2**31 - 1), st.booleans())
def test_values_come_back(space: spaces.Space[Any], count: int, seed: int, copy: bool) -> None:
    space.seed(seed)
    rng = random.Random(seed)
    batched = stack(space, [poisoned(space.sample(), rng) for _ in range(count)])
    out: list[Buffer] = []
    write_values(space, batched, out)
    reader = BufferReader(through(out), copy=copy)
    again = read_values(space, count, reader)
    reader.done()
    assert same(again, batched)


@QUICK
@given(CELLS)
def test_single_values_come_back(value: Any) -> None:
    assert same(read_value(value_pb2.Value.FromString(write_value(value).SerializeToString())), value)


@QUICK
@given(st.lists(st.dictionaries(st.sampled_from(["a", "b", "long name"]), CELLS, max_size=3), max_size=4))
def test_infos_come_back(infos: list[dict[str, Any]]) -> None:
    columns = info_columns(infos)
    out: list[Buffer] = []
    messages = write_infos(columns, out)
    reader = BufferReader(through(out))
    again = read_infos(messages, len(infos), reader)
    reader.done()
    assert list(again) == list(columns)
    for key, (values, mask) in columns.items():
        assert same(again[key].mask, mask)
        assert again[key].values.dtype == values.dtype
        assert same(again[key].values, values)


def a_batch(space: spaces.Space[Any], count: int, finals: int, seed: int) -> Batch:
    rng = np.random.default_rng(seed)
    space.seed(seed)
    return Batch(
        slots=rng.permutation(count + 3)[:count].astype(np.int32),
        obs=stack(space, [space.sample() for _ in range(count)]),
        reward=rng.normal(size=count),
        terminated=rng.random(count) < 0.5,
        truncated=rng.random(count) < 0.5,
        episode=rng.integers(0, 9, count),
        step=rng.integers(0, 9, count),
        seed=rng.integers(0, 2**62, count),
        fault=np.zeros(count, np.uint8),
        info={"lives": Column(np.arange(count), np.ones(count, bool))},
        final_rows=np.arange(finals, dtype=np.int32),
        final_obs=stack(space, [space.sample() for _ in range(finals)]) if finals else None,
        final_info={"why": Column(np.array(["x"] * finals, object), np.ones(finals, bool))},
    )


@QUICK
@given(SPACES, st.integers(1, 5), st.integers(0, 5), st.integers(0, 2**31 - 1))
def test_batches_come_back(space: spaces.Space[Any], count: int, finals: int, seed: int) -> None:
    batch = a_batch(space, count, min(finals, count), seed)
    batch.fault[-1], batch.fault_text = 1, {count - 1: "Traceback …"}
    body, buffers = write_batch(batch, space)
    message = encode(pb.Header(sequence=1, batch=body), buffers)
    again = read_batch(decode(message), space, count + 3)
    for name in Batch.__dataclass_fields__:
        ours, theirs = getattr(batch, name), getattr(again, name)
        if name in ("info", "final_info"):
            ours, theirs = dict(ours), dict(theirs)
        assert same(theirs, ours), name


@QUICK
@given(st.lists(st.binary(max_size=300), max_size=6), st.integers(1, 2**40))
def test_frames_are_plain_protobuf(buffers: list[bytes], sequence: int) -> None:
    header = pb.Header(sequence=sequence, session="s", send=pb.Send())
    message = encode(header, buffers)
    parsed = pb.Frame.FromString(message)
    assert parsed.header == header
    assert list(parsed.buffers) == buffers
    again = decode(pb.Frame(header=header, buffers=buffers).SerializeToString())
    assert again.header == header
    assert [bytes(b) for b in again.buffers] == buffers


@QUICK
@given(st.binary(max_size=20_000), st.integers(2_000, 5_000))
def test_chunks_join_again(data: bytes, limit: int) -> None:
    header = pb.Header(sequence=1, send=pb.Send())
    message = encode(header, [data])
    assembler = Assembler()
    pieces = list(chunks(message, header, limit))
    assert max(map(len, pieces)) <= limit
    frames = [assembler.add(piece) for piece in pieces]
    assert frames[:-1] == [None] * (len(pieces) - 1)
    assert frames[-1] is not None
    assert bytes(frames[-1].buffers[0]) == data


PICTURES = spaces.Dict(
    {
        "a": spaces.Box(0, 255, (40, 50, 1), np.uint8),
        "t": spaces.Text(3),
        "z": spaces.Box(-9, 9, (17, 17), np.float32),
    }
)
CODECS = {
    "delta": ["delta", "delta"],
    "lz4": ["lz4", "lz4"],
    "png": ["png", ""],
    "jpeg-90": ["jpeg-90", ""],
    "webp-50": ["webp-50", ""],
}


@QUICK
@given(st.sampled_from(list(CODECS)), st.integers(0, 2**31 - 1), st.integers(1, 4))
def test_codecs_make_the_same_observations(codec: str, seed: int, rounds: int) -> None:
    """Batches of any subset of slots, of which little or much changed, come back; with losses, nearly."""
    rng = np.random.default_rng(seed)
    names = agree(PICTURES, [codec])
    assert names == CODECS[codec]
    writer, reader = Coder(PICTURES, 5, names), Coder(PICTURES, 5, names)
    state = a_batch(PICTURES, 5, 0, seed).obs
    state["a"][:] = np.linspace(0, 255, 50, dtype=np.uint8)[:, None]
    for _ in range(rounds):
        slots = rng.permutation(5)[: rng.integers(1, 6)].astype(np.int32)
        for name in ("a", "z"):
            flat = state[name].reshape(5, -1)
            flat[slots, rng.integers(flat.shape[1])] += rng.integers(9).astype(flat.dtype)
        batch = a_batch(PICTURES, len(slots), 0, seed)
        batch.slots = slots
        batch.obs = {"a": state["a"][slots], "t": batch.obs["t"], "z": state["z"][slots]}
        body, buffers = write_batch(batch, PICTURES)
        header = pb.Header(sequence=1, batch=body)
        writer.write(header, buffers)
        assert list(header.coded) == [index for index, name in zip((8, 11), names, strict=True) if name]
        frame = decode(encode(header, buffers))
        reader.read(frame)
        again = read_batch(frame, PICTURES, 5).obs
        if codec in ("delta", "lz4", "png"):
            assert same(again, batch.obs)
        else:
            assert same(again["z"], batch.obs["z"])
            assert again["a"].shape == batch.obs["a"].shape
            assert np.abs(again["a"].astype(int) - batch.obs["a"]).mean() < 12


@QUICK
@given(st.sampled_from(list(CODECS)), st.binary(max_size=300), st.integers(0, 30), st.binary(max_size=30))
def test_wrong_codes_are_a_protocol_error(codec: str, coded: bytes, index: int, slots: bytes) -> None:
    frame = decode(encode(pb.Header(sequence=1, coded=[index]), [slots, *[coded] * 11]))
    try:
        Coder(PICTURES, 5, CODECS[codec]).read(frame)
    except ProtocolError:
        return
    assert len(frame.buffers[index]) == len(slots) // 4 * {8: 2000, 11: 1156}[index]


def _read_all(message: bytes) -> None:
    frame = Assembler(max_frame_bytes=2**20).add(message)
    if isinstance(frame, Frame) and frame.header.shared:
        Borrower().resolve(frame)
    if isinstance(frame, Frame) and frame.header.HasField("batch"):
        if frame.header.coded:
            Coder(PICTURES, 16, [frame.header.session, ""]).read(frame)
        read_batch(frame, RICH, 16)
    if isinstance(frame, Frame) and frame.header.HasField("opened"):
        read_space(frame.header.opened.observation_space)
        {k: read_value(v) for k, v in frame.header.opened.spec.options.items()}


def _seeds() -> list[bytes]:
    """Sound messages of every kind that has something to read."""
    body, buffers = write_batch(a_batch(RICH, 4, 2, 0), RICH)
    options = {"x": write_value({"a": [1, (2.0, None)], "b": np.arange(3)}), "y": write_value(np.float32(1))}
    opened = pb.Opened(observation_space=write_space(RICH), spec=pb.SpecInfo(options=options))
    coded = []
    for codec in ("delta", "lz4", "png", "jpeg-90", "webp-50"):
        picture, parts = write_batch(a_batch(PICTURES, 4, 0, 0), PICTURES)
        header = pb.Header(sequence=1, session=codec, batch=picture)
        Coder(PICTURES, 16, [codec, ""]).write(header, parts)
        coded.append(encode(header, parts))
    shared = [pb.SharedBuffer(buffer=1, region=1, offset=2, bytes=3)]
    return [
        encode(pb.Header(sequence=1, batch=body), buffers),
        encode(pb.Header(sequence=1, opened=opened)),
        encode(pb.Header(sequence=1, chunk=pb.Chunk(total_bytes=9)), [b"abc"]),
        encode(pb.Header(sequence=1, batch=body, shared=shared), buffers),
        encode(pb.Header(session="s", resume=pb.Resume(token=b"x" * 16, received=3))),
        b"\x0a\x02",
        *coded,
    ]


def _fuzz(count: int, seed: int) -> int:
    """How many of ``count`` damaged messages were refused; any error but ProtocolError escapes."""
    rng, seeds, refused = random.Random(seed), _seeds(), 0
    for _ in range(count):
        message = mutated(rng.choice(seeds), rng)
        try:
            _read_all(message)
        except ProtocolError:
            refused += 1
    return refused


def test_garbage_is_a_protocol_error() -> None:
    """Each damaged frame is read, or refused by ProtocolError."""
    assert _fuzz(4_000, 0) > 1_000


def _much_garbage() -> None:
    """In a process of its own: how much memory one took at most doesn't go down again."""
    _fuzz(1_000, 0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert sum(_fuzz(10_000, seed) for seed in range(1, 13)) > 30_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_much_garbage_is_a_protocol_error_in_bounded_memory() -> None:
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
    code += "import test_wire_properties as t; t._much_garbage()"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=600)


@QUICK
@given(st.binary(max_size=200))
def test_random_bytes_are_a_protocol_error(message: bytes) -> None:
    try:
        _read_all(message)
    except ProtocolError:
        return


def test_a_small_message_cannot_ask_for_much() -> None:
    lengths = np.array([2**31 - 1], "<i4")
    with pytest.raises(ProtocolError, match="more rows"):
        read_values(spaces.Sequence(spaces.Tuple([])), 1, BufferReader([lengths.tobytes()]))
    huge = space_pb2.Space(
        box=space_pb2.Box(dtype="<f4", shape=[2**20, 2**20], low=b"\0" * 4, high=b"\0" * 4)
    )
    with pytest.raises(ProtocolError, match="elements"):
        read_space(huge)
    with pytest.raises(ProtocolError, match="limit"):
        Assembler(2**20).add(encode(pb.Header(sequence=1, chunk=pb.Chunk(total_bytes=2**40)), [b"x"]))


def test_a_frame_in_one_message_may_be_no_larger_than_one_in_chunks() -> None:
    def frame(size: int) -> bytes:
        return encode(pb.Header(sequence=1, heartbeat=pb.Heartbeat()), [bytes(size)])

    overhead = len(frame(2**16)) - 2**16
    assert Assembler(2**16).add(frame(2**16 - overhead)) is not None
    with pytest.raises(ProtocolError, match="a frame of 65537 bytes; the limit is 65536"):
        Assembler(2**16).add(frame(2**16 + 1 - overhead))


@pytest.mark.parametrize("limit", [2**10, 2**20], ids=["in chunks", "whole"])
def test_a_header_is_not_parsed_if_it_is_too_large(limit: int) -> None:
    """Each empty member takes 3 bytes on the wire, and a hundred times that as an object."""
    header = pb.Header(sequence=1, open=pb.Open(more=[pb.Open()] * 700))
    message = encode(header)
    assembler = Assembler(max_header_bytes=2**11)
    *others, last = chunks(message, header, limit + CHUNK_OVERHEAD)
    assert [assembler.add(piece) for piece in others] == [None] * len(others)
    with pytest.raises(ProtocolError, match=r"a header of 21\d\d bytes; the limit is 2048"):
        assembler.add(last)
    assert Assembler(max_header_bytes=2**12).add(message) is not None


def test_what_a_chunk_holds_besides_its_piece_is_not_kept() -> None:
    """Fields of later versions, say: they don't count towards the frame's size."""
    unknown = b"\x7a\x80\x80\x40" + bytes(2**20)  # field 15, 1 MiB of it
    piece = bytes(range(256)) * 2
    inner = encode(pb.Header(sequence=1, send=pb.Send()), [piece * 20])
    assembler, frame = Assembler(max_frame_bytes=2**20), None
    tracemalloc.start()
    try:
        for offset in range(0, len(inner), len(piece)):
            header = pb.Header(sequence=1, chunk=pb.Chunk(total_bytes=len(inner), offset=offset))
            frame = assembler.add(encode(header, [inner[offset : offset + len(piece)]]) + unknown)
            assert tracemalloc.get_traced_memory()[0] < 2**21
    finally:
        tracemalloc.stop()
    assert frame is not None
    assert bytes(frame.buffers[0]) == piece * 20


@pytest.mark.parametrize("name", ["<f4\n", "|b1\n", "<U\u0663"])
def test_a_dtypes_name_is_all_of_the_text(name: str) -> None:
    with pytest.raises(ProtocolError, match="is not one that may travel"):
        dtype_named(name)
    with pytest.raises(ProtocolError, match="is not an integer"):
        read_value(value_pb2.Value(big_integer="7\n"))


@pytest.mark.parametrize("dtype", ["<U0", "|S0"])
def test_an_array_of_elements_without_content_is_refused(dtype: str) -> None:
    """NumPy takes memory for each of them."""
    with pytest.raises(ProtocolError, match="elements without content"):
        read_value(value_pb2.Value(array=value_pb2.Array(dtype=dtype, shape=[2**28])))
    assert read_value(write_value(np.str_(""))) == ""
    assert read_value(write_value(np.ndarray((2,), dtype))).tolist() == [np.array("", dtype[:2])[()]] * 2
