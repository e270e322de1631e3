"""What a server is told: its file, tokens and their limits, families, TLS."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from started_server import ALICE, BOB, start

from universe2.client import open_remote, server_info
from universe2.client.stream import Stream
from universe2.core.errors import (
    AuthenticationError,
    CapacityError,
    ServerLostError,
    UnknownEnvError,
    UnsupportedError,
    UsageError,
)
from universe2.core.spec import EnvConfig, EnvSpec
from universe2.server import ServerConfig
from universe2.server.auth import Holder
from universe2.server.capacity import Share
from universe2.server.config import TlsFiles, read_config
from universe2.testing.counting import COUNTING
from universe2.wire.frames import encode
from universe2.wire.v1 import universe_pb2 as pb


def write(folder: Path, text: str) -> Path:
    path = folder / "serve.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_settings_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "alice").write_text(ALICE)
    text = 'host = "0.0.0.0"\nslots = 512\nfamilies = ["arcade"]\n[tokens.alice]\nfile = "alice"\nslots = 2\n'
    config = ServerConfig(**read_config(write(tmp_path, text)))
    assert (config.host, config.slots, config.families) == ("0.0.0.0", 512, ("arcade",))
    assert config.everyone() == (Holder("alice", ALICE, Share(slots=2)),)
    assert ALICE not in repr(config)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("slotz = 3", "no key 'slotz'. Did you mean 'slots'"),
        ("slots = ", "is not TOML"),
        ("slots = 0", "at least 1"),
        ('families = ["chess"]', "no family 'chess'"),
        ('host = "0.0.0.0"', "--insecure"),
        ('token_file = "nowhere"', "cannot read the token file"),
        ("[tokens.bob]\nslots = 3", "file is missing"),
        (
            '[tokens.bob]\nfile = "bob"\nbytes = 3',
            "Keys: file, slots, sessions, message_bytes, frame_bytes",
        ),
        ('[tls]\nkey = "k"', "tls: certificate is missing"),
        ("port = 70000", "0..65535"),
        ("lease = 0", "above 0 s"),
        ("lease = nan", "above 0 s"),
        ("open_deadline = 1e10", "open_deadline must be above 0 s and at most a day (86400 s), got"),
        ('lease = "long"', "lease must be a number, got 'long'"),
        ('slots = "5"', "slots must be a whole number, got '5'"),
        ("slots = true", "slots must be a whole number, got True"),
        ("host = 7", "host must be a text, got 7"),
        ('families = "arcade"', "families must be a list"),
        ("tokens = 3", "tokens must be a table"),
        ("[tokens]\nbob = 3", "tokens.bob must be a table"),
        ('[tokens.bob]\nfile = "bob"\nslots = "3"', "tokens.bob.slots must be a whole number"),
        ('[tokens.bob]\nfile = "bob"\nsessions = -1', "tokens.bob.sessions must be at least 0, got -1"),
        ("slots = 5000000000", "slots must be at most 2147483647, got 5000000000"),
        ("sessions = 10000000", "sessions must be at most 65536, got 10000000"),
        ("queue = 10000000", "queue must be at most 65536"),
        ("metrics_port = 15900", "port and metrics_port are both 15900"),
        ("families = []", "families is empty"),
        ('restore = "no"', "restore must be true or false, got 'no'"),
        ('[tokens.bob]\nfile = "bob"\nframe_bytes = 9', "frame_bytes must be at least 65536, got 9"),
        ("families = [[]]", "serve.toml: each of families must be a text"),
        ('slots = "5"', "serve.toml: slots must be a whole number"),
        ('token_file = "nowhere"', "serve.toml: cannot read the token file"),
        ('host = ""', "host is empty"),
        ('host = "localhost:15900"', "host is an address or a name alone, got 'localhost:15900'"),
        ('host = "[::1]:15900"', "host is an address or a name alone"),
        ('host = "http://node1"', "host is an address or a name alone"),
        ("[tls]\nkey = 1\ncertificate = 2", "must be a text"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=re.escape(complaint)):
        ServerConfig(**read_config(write(tmp_path, text)))


@pytest.mark.parametrize(
    ("host", "plain"), [("[::1]", "::1"), ("LOCALHOST", "localhost"), (" 127.0.0.1 ", "127.0.0.1")]
)
def test_a_host_is_known_however_it_is_written(host: str, plain: str) -> None:
    assert ServerConfig(host=host).host == plain


def test_a_name_stands_for_one_token() -> None:
    """The table [tokens.token] would share its limits with token_file."""
    holders = (Holder("token", ALICE), Holder("bob", BOB))
    assert len(ServerConfig(holders=holders).everyone()) == 2
    with pytest.raises(UsageError, match=r"two tokens are named 'token'.*token_file.*\[tokens.token\]"):
        ServerConfig(token=BOB, holders=holders)
    with pytest.raises(UsageError, match="two tokens are named 'bob'"):
        ServerConfig(holders=(*holders, Holder("bob", ALICE)))


def test_a_token_stands_for_one_name() -> None:
    """Of two holders with one secret only one's limits could hold."""
    with pytest.raises(UsageError, match=r"\[tokens.bob\] and \[tokens.eve\] hold the same token") as told:
        ServerConfig(holders=(Holder("alice", ALICE), Holder("bob", BOB), Holder("eve", BOB)))
    assert BOB not in str(told.value)
    with pytest.raises(UsageError, match=r"token_file and \[tokens.alice\] hold the same token"):
        ServerConfig(token=ALICE, holders=(Holder("alice", ALICE),))


def test_tokens_have_limits_of_their_own(counting: EnvSpec) -> None:
    share = Share(slots=3, sessions=2)
    server = start(holders=(Holder("alice", ALICE, share), Holder("bob", BOB)))
    try:
        first = open_remote(COUNTING.id, 2, EnvConfig(), [server.address], token=ALICE)
        with pytest.raises(CapacityError, match="'alice' has 2 of its 3"):
            open_remote(COUNTING.id, 2, EnvConfig(), [server.address], token=ALICE, wait=0.0)
        second = open_remote(COUNTING.id, 5, EnvConfig(), [server.address], token=BOB)
        with pytest.raises(AuthenticationError):
            open_remote(COUNTING.id, 1, EnvConfig(), [server.address], token="neither-of-the-two")
        first.close()
        second.close()
    finally:
        server.stop(1.0)


def test_a_token_limits_what_its_holders_send(counting: EnvSpec) -> None:
    share = Share(message_bytes=2**16, frame_bytes=2**17)
    server = start(holders=(Holder("alice", ALICE, share), Holder("bob", BOB)))
    ask = pb.Open(protocol=1, env_id=COUNTING.id, interface="native", autoreset="next_step", num_slots=1)
    try:
        for token, limit in ((ALICE, 2**16), (BOB, server.config.max_message_bytes)):
            stream = Stream(server.address, token)
            stream.send(encode(pb.Header(sequence=1, open=ask)))
            opened = stream.first(10.0).opened
            assert opened.max_message_bytes == limit
            large = pb.Header(sequence=2, session=opened.session, heartbeat=pb.Heartbeat())
            stream.send(encode(large, [bytes(2**16)]))
            answer = stream.first(10.0)
            stream.hang_up()
            if token == ALICE:
                assert "the limit is 65536" in answer.error.message
            else:
                assert answer.HasField("heartbeat")
        chunk = pb.Chunk(total_bytes=2**17 + 1)
        stream = Stream(server.address, ALICE)
        stream.send(encode(pb.Header(sequence=1, chunk=chunk), [bytes(1000)]))
        assert "the limit is 131072" in stream.first(10.0).error.message
        stream.hang_up()
    finally:
        server.stop(1.0)


def test_only_the_families_that_are_allowed(counting: EnvSpec) -> None:
    server = start(families=("arcade",))
    try:
        with pytest.raises(UnknownEnvError, match="doesn't offer the family 'testing', only arcade"):
            open_remote(COUNTING.id, 1, EnvConfig(), [server.address])
        assert list(server_info(server.address).families) == ["arcade"]
    finally:
        server.stop(1.0)


def test_states_may_be_refused() -> None:
    server = start(restore=False)
    try:
        runtime = open_remote("arcade/Maze-v0", 2, None, [server.address])
        runtime.reset([0, 1], [1, 2])
        runtime.recv(10.0)
        states = runtime.snapshot([0, 1])
        runtime.restore([0, 1], states)
        with pytest.raises(UnsupportedError, match="takes no states: it runs with --no-restore"):
            runtime.recv(10.0)
        runtime.reset([0, 1], [1, 2])
        assert runtime.recv(10.0).step.tolist() == [0, 0]
        runtime.close()
    finally:
        server.stop(1.0)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes certificates with openssl")
def test_tls_in_both_directions(counting: EnvSpec, tmp_path: Path) -> None:
    for name in ("server", "client", "stranger"):
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        command += ["-nodes", "-days", "2", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"]
        command += ["-keyout", str(tmp_path / f"{name}.key"), "-out", str(tmp_path / f"{name}.pem")]
        subprocess.run(command, check=True, capture_output=True, timeout=30)
    pem = {name: tmp_path / f"{name}.pem" for name in ("server", "client", "stranger")}
    strangers = TlsFiles(certificate=pem["server"], key=tmp_path / "stranger.key")
    with pytest.raises(UsageError, match=r"stranger\.key doesn't open .*server\.pem .*is it another one's"):
        start(tls=strangers)
    broken = tmp_path / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\ngarbage\n-----END CERTIFICATE-----\n")
    files = TlsFiles(certificate=pem["server"], key=tmp_path / "server.key", client_ca=broken)
    with pytest.raises(UsageError, match=r"the client CA .*broken\.pem .*is the file damaged"):
        start(tls=files)
    files = dataclasses.replace(files, client_ca=pem["client"])
    server = start(tls=files)
    try:
        base = f"tls://{server.address}?name=server&ca={pem['server']}"
        mine = f"{base}&cert={pem['client']}&key={tmp_path / 'client.key'}"
        runtime = open_remote(COUNTING.id, 1, EnvConfig(), [mine])
        runtime.reset([0], [4])
        assert runtime.recv(5.0).seed.tolist() == [4]
        runtime.close()
        strange = f"{base}&cert={pem['stranger']}&key={tmp_path / 'stranger.key'}"
        for wrong in (base, strange, f"tls://{server.address}?name=server", server.address):
            with pytest.raises(ServerLostError):
                open_remote(COUNTING.id, 1, EnvConfig(), [wrong])
        with pytest.raises(UsageError, match="cert and key go together"):
            open_remote(COUNTING.id, 1, EnvConfig(), [f"{base}&cert=x"])
    finally:
        server.stop(1.0)
