"""A page of a server reaches nothing else: not by sockets, not from workers, not by a proxy."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from web_session import Session, action

from universe2.core.spec import EnvSpec
from universe2.envs.web import web_env
from universe2.envs.web.page import reach_of

pytestmark = pytest.mark.browser

# Each tells how its socket ended: "open" or "error"; "read" is what must never be told.
SOCKETS = """
const ends = (told) => {
  for (const address of %s) {
    const socket = new WebSocket(address);
    socket.onopen = () => told("open " + address);
    socket.onerror = () => told("error " + address);
  }
  fetch("%s").then(() => told("read"), () => told("not read"));
};
"""
WORKER = SOCKETS + "ends(postMessage);"
SHARED = SOCKETS + "onconnect = ({ ports: [port] }) => ends((what) => port.postMessage(what));"
PAGE = (
    """<!DOCTYPE html><body><script>"""
    + SOCKETS
    + """
const told = [];
const hear = ({ data }) => told.push(data);
function go() {
  ends((what) => told.push(what));
  new Worker("/worker.js").onmessage = hear;
  new SharedWorker("/shared.js").port.onmessage = hear;
  const calls = new RTCPeerConnection({ iceServers: [{ urls: "stun:%s" }, { urls: "turn:%s?transport=tcp",
    username: "a", credential: "b" }] });
  calls.createDataChannel("x");
  calls.createOffer().then((offer) => calls.setLocalDescription(offer));
}
</script></body>"""
)


@contextmanager
def listening(heard: list[str], name: str, pages: dict[str, str] | None = None) -> Iterator[int]:
    """A server whose requests are written down; it gives ``pages`` by their paths."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(f"{name} {self.command} {self.path}")
            body = (pages or {}).get(self.path, "").encode()
            self.send_response(200 if pages is None or self.path in pages else 404)
            self.send_header("Content-Type", "text/javascript" if ".js" in self.path else "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Access-Control-Allow-Origin", "*")
            self.end_headers()
            self.wfile.write(body)

        do_CONNECT = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def spec(address: str) -> EnvSpec:
    return web_env("web/net-v0", address, instruction="", start="go()", done="false", limit_s=900)


def test_a_page_of_a_server_reaches_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str] = []
    pages: dict[str, str] = {}
    with (
        listening(heard, "elsewhere") as elsewhere,
        listening(heard, "proxy") as proxy,
        listening(heard, "own", pages) as own,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
        socket.create_server(("127.0.0.1", 0)) as calls,
    ):
        datagrams.bind(("127.0.0.1", 0))
        for name in ("http", "https", "all", "HTTP", "HTTPS", "ALL"):
            monkeypatch.setenv(
                f"{name}_proxy" if name.islower() else f"{name}_PROXY", f"http://127.0.0.1:{proxy}"
            )
        away = [f"ws://127.0.0.1:{elsewhere}/", "ws://evil.example/"]
        filled = (away, f"http://127.0.0.1:{elsewhere}/")
        pages["/worker.js"], pages["/shared.js"] = WORKER % filled, SHARED % filled
        stun, turn = (f"127.0.0.1:{each.getsockname()[1]}" for each in (datagrams, calls))
        pages["/"] = PAGE % (*filled, stun, turn)
        with Session(spec(f"http://127.0.0.1:{own}/")) as session:
            session.reset(0)
            told: list[str] = []
            for _ in range(400):
                if len(told) == 9:
                    break
                session.step(action())
                told = session.run(session.host._slots[0].page.evaluate("told"))
            assert sorted(told) == sorted([f"error {address}" for address in away] * 3 + ["not read"] * 3)
            refused = session.info["refused"]
        assert {*away, filled[1]} <= set(refused)
        assert sorted(heard) == ["own GET /", "own GET /shared.js", "own GET /worker.js"]
        for each in (datagrams, calls):
            each.setblocking(False)
            with pytest.raises(BlockingIOError):
                each.recv(1) if each is datagrams else each.accept()


def test_a_socket_to_the_own_server_is_no_refusal() -> None:
    heard: list[str] = []
    page = """<script>let end = "";
    const go = () => { new WebSocket(`ws://${location.host}/live`).onerror = () => { end = "over"; } }
    </script>"""
    with listening(heard, "own", {"/": page}) as own:
        with Session(spec(f"http://127.0.0.1:{own}/")) as session:
            session.reset(0)
            for _ in range(400):
                session.step(action())
                if session.run(session.host._slots[0].page.evaluate("end")):
                    break
            assert session.info == {}
        assert heard == ["own GET /", "own GET /live"]


@pytest.mark.parametrize(
    ("url", "reach"),
    [
        ("", ""),
        ("http://LocalHost/a", "localhost:80"),
        ("https://localhost", "localhost:443"),
        ("http://[::1]:8123/", "[::1]:8123"),
    ],
)
def test_what_a_browser_may_reach_names_its_port(url: str, reach: str) -> None:
    assert reach_of(url) == reach
