"""What a client gets wrong about a server, told as that: tokens, certificates, times."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from universe2.client import open_remote, server_info
from universe2.core.errors import ServerLostError, UsageError
from universe2.core.spec import EnvSpec
from universe2.server import Server, ServerConfig
from universe2.server.config import TlsFiles
from universe2.testing.counting import COUNTING

SECRET = "s3cret-s3cret-s3cret"


@pytest.mark.parametrize(
    ("token", "fault"),
    [
        (f"{SECRET}\n", r"line break at its end.*\.strip\(\)"),
        (f" {SECRET}", r"white space at its beginning.*\.strip\(\)"),
        (f"{SECRET}\r\nmore", r"line break"),
        (f"{SECRET}\x00", r"can't be printed"),
        (f"{SECRET}é", "not ASCII"),
        (SECRET.encode(), "must be a text, got bytes"),
    ],
)
@pytest.mark.parametrize("remotes", [["127.0.0.1:1"], ["127.0.0.1:1", "127.0.0.1:2"]])
def test_a_token_that_no_server_can_have_is_named_and_not_shown(
    token: Any, fault: str, remotes: list[str]
) -> None:
    with pytest.raises(UsageError, match=fault) as caught:
        open_remote(COUNTING.id, 1, None, remotes, token=token)
    assert "s3cret" not in str(caught.value)
    with pytest.raises(UsageError, match=fault):
        server_info(remotes[0], token)


@pytest.mark.parametrize("name", ["wait", "deadline", "open_deadline", "reopen_deadline", "lease"])
@pytest.mark.parametrize("value", ["5", True, float("nan"), -1.0])
def test_times_are_numbers(name: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"^{name} must be a number of seconds, 0 or more, got"):
        open_remote(COUNTING.id, 1, None, ["127.0.0.1:1"], **{name: value})


def made(folder: Path, name: str, days: int) -> None:
    """A key and a certificate of its own, ``name``.key and ``name``.pem."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-nodes", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"]
    key, certificate = str(folder / f"{name}.key"), str(folder / f"{name}.pem")
    command += ["-keyout", key, "-out", certificate]
    # "req" makes none that is over already
    again = ["openssl", "x509", "-in", certificate, "-signkey", key, "-days", str(days), "-out", certificate]
    for step in (command, again):
        subprocess.run(step, check=True, capture_output=True, timeout=30)


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of certificates."""
    if shutil.which("openssl") is None:
        pytest.skip("makes certificates with openssl")
    folder = tmp_path_factory.mktemp("pem")
    for name in ("server", "client", "stranger"):
        made(folder, name, days=2)
    made(folder, "expired", days=-1)
    broken = "-----BEGIN CERTIFICATE-----\nnot base64\n-----END CERTIFICATE-----\n"
    (folder / "broken.pem").write_text(broken, encoding="utf-8")
    return folder


def started(pem: Path, certificate: str = "server", client_ca: str = "") -> Server:
    files = TlsFiles(
        certificate=pem / f"{certificate}.pem",
        key=pem / f"{certificate}.key",
        client_ca=pem / f"{client_ca}.pem" if client_ca else None,
    )
    server = Server(ServerConfig(port=0, slots=4, tls=files))
    server.start()
    return server


@pytest.fixture
def plain(counting: EnvSpec) -> Iterator[Server]:
    server = Server(ServerConfig(port=0, slots=4))
    server.start()
    yield server
    server.stop(1.0)


def refused(address: str) -> str:
    with pytest.raises(ServerLostError) as caught:
        open_remote(COUNTING.id, 1, None, [address], open_deadline=10.0)
    text = str(caught.value)
    assert "OPENSSL" not in text
    assert "SSL_ERROR" not in text
    return text


def test_a_client_whose_files_are_wrong_is_told_which(pem: Path) -> None:
    base = "tls://127.0.0.1:1?ca="
    with pytest.raises(UsageError, match=r"broken\.pem .*can't be read: is the file damaged"):
        open_remote(COUNTING.id, 1, None, [f"{base}{pem}/broken.pem"])
    with pytest.raises(UsageError, match=r"server\.key is not PEM: it has no line -----BEGIN CERTIFICATE"):
        open_remote(COUNTING.id, 1, None, [f"{base}{pem}/server.key"])
    strange = f"{base}{pem}/server.pem&cert={pem}/client.pem&key={pem}/stranger.key"
    with pytest.raises(UsageError, match=r"stranger\.key doesn't open .*client\.pem .*is it another one's"):
        open_remote(COUNTING.id, 1, None, [strange])


def test_plain_or_tls_is_asked_about(pem: Path, plain: Server) -> None:
    server = started(pem)
    try:
        assert "does the server speak TLS" in refused(server.address)
        text = refused(f"tls://{plain.address}?ca={pem}/server.pem")
        assert "doesn't speak TLS" in text
    finally:
        server.stop(1.0)


def test_a_missing_client_certificate_is_asked_about(pem: Path) -> None:
    server = started(pem, client_ca="client")
    try:
        text = refused(f"tls://{server.address}?name=server&ca={pem}/server.pem")
        assert "want a client certificate" in text
    finally:
        server.stop(1.0)


@pytest.mark.parametrize(
    ("certificate", "query", "cause"),
    [
        ("server", "?name=server&ca={}/stranger.pem", "signed by nobody who is trusted here"),
        ("server", "?name=server", "signed by nobody who is trusted here"),
        ("server", "?ca={}/server.pem", r"not for this host.*\?name=HOST"),
        ("expired", "?name=expired&ca={}/expired.pem", "has expired"),
    ],
)
def test_a_servers_certificate_that_does_not_hold_is_told(
    pem: Path, certificate: str, query: str, cause: str
) -> None:
    server = started(pem, certificate)
    try:
        assert re.search(cause, refused(f"tls://{server.address}{query.format(pem)}"))
    finally:
        server.stop(1.0)
