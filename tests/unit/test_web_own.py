"""A page of one's own, from a folder and from a server, as one entry."""

from __future__ import annotations

import asyncio
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from web_session import Session

from universe2.core.errors import UsageError
from universe2.core.host import InfrastructureFault
from universe2.core.spec import EnvConfig, EnvSpec
from universe2.envs.web import web_env
from universe2.envs.web.actions import parse
from universe2.envs.web.page import origin_of

FIRST = """<!DOCTYPE html><body><h1>First</h1><a href="second.html">onwards</a>
<a href="http://127.0.0.1:1/">away</a></body>"""
SECOND = """<!DOCTYPE html><body><h1>Second</h1><input aria-label="Word">
<script>setTimeout(() => { document.title = "late"; }, 300);</script></body>"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "index.html").write_text(FIRST)
    (tmp_path / "second.html").write_text(SECOND)
    return tmp_path


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """A server of ``folder``, which is gone afterwards."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            if self.path != "/away":
                return super().do_GET()
            self.send_response(302)
            self.send_header("Location", "http://127.0.0.1:1/")
            self.end_headers()
            return None

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/index.html"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def server(folder: Path) -> Iterator[str]:
    with serving(folder) as address:
        yield address


def spec(source: str | Path, **more: object) -> EnvSpec:
    return web_env(
        "web/own-v0",
        source,
        instruction="Go on and write yes.",
        done="document.querySelector('input')?.value.length === 3",
        reward="document.querySelector('input').value === 'yes' ? 1 : -0.5",
        **more,  # type: ignore[arg-type]
    )


def test_a_page_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no page at"):
        spec(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"instruction": "Press “Café”."}, "can't be shown: 'é', '“', '”'"),
        ({"instruction": "Go on. " * 200}, "1400 characters, at most 1024 fit"),
        ({"size": (0, 640)}, r"size must be \(height, width\), each at least 1 pixel, got \(0, 640\)"),
    ],
)
def test_what_cant_be_shown_is_refused(folder: Path, more: dict[str, object], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        web_env("web/own-v0", folder, **{"instruction": "", "done": "false", **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("HTTP://LocalHost:8123/A?b#c", "http://localhost:8123/"),
        ("http://localhost:80", "http://localhost/"),
        ("https://localhost:443/a", "https://localhost/"),
        ("https://localhost:80/a", "https://localhost:80/"),
        ("http://[::1]:80/", "http://[::1]/"),
    ],
)
def test_an_origin_is_written_as_the_browser_writes_it(url: str, origin: str) -> None:
    assert origin_of(url) == origin


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://ada:secret@localhost/", "must not name a user before its host, localhost"),
        ("http://localhost:http/", "is no address: Port could not be cast .* 'http://localhost:http/'"),
        ("http:///index.html", "must begin with http://host or https://host, got 'http:///index.html'"),
        ("ftp://localhost/", "must begin with http://host"),
    ],
)
def test_an_address_that_no_page_can_have_is_refused(url: str, why: str) -> None:
    with pytest.raises(UsageError, match=why) as error:
        spec(url).spaces(EnvConfig())
    assert "secret" not in str(error.value)


def play(session: Session, word: str) -> list[np.ndarray]:
    screens = [session.reset(1)["screen"]]
    for call in ("click({onwards})", "wait()", "wait()", f'type({{Word}}, "{word}")'):
        tree = (session.last.obs if session.last else session.first)["axtree"]  # type: ignore[attr-defined]
        for line in tree.split("\n"):
            number, _, rest = line.strip().removeprefix("[").partition("] ")
            for name in ("onwards", "Word", "away"):
                if f'"{name}"' in rest:
                    call = call.replace("{" + name + "}", number)
        screens.append(session.step(parse(call)).obs["screen"])  # type: ignore[arg-type]
    return screens


@pytest.mark.browser
@pytest.mark.parametrize("place", ["folder", "server", "SERVER"])
def test_it_is_won_over_two_documents(place: str, folder: Path, server: str) -> None:
    source = {"folder": folder, "server": server, "SERVER": server.replace("127.0.0.1", "LOCALHOST")}[place]
    with Session(spec(source), observe="axtree", actions="structured") as session:
        runs = []
        for word in ("yes", "yes", "not"):
            session.last = None
            session.first = session.run(session.host.reset(0, 1))[0]  # type: ignore[attr-defined]
            runs.append(play(session, word))
            assert session.last is not None
            assert session.last.terminated
            assert session.last.reward == (1.0 if word == "yes" else -0.5)
        for one, other in zip(runs[0], runs[1], strict=True):
            np.testing.assert_array_equal(one, other)
        assert (runs[0][0] != runs[0][1]).any()


@pytest.mark.browser
def test_the_limit_truncates_and_links_lead_nowhere_else(folder: Path) -> None:
    with Session(spec(folder, limit_s=0.5), observe="axtree,url", actions="structured") as session:
        tree = session.reset(0)["axtree"]
        (away,) = (line.strip()[1:].split("]")[0] for line in tree.split("\n") if '"away"' in line)
        result = session.step(parse(f"click({away})"))  # type: ignore[arg-type]
        assert result.obs["url"].endswith("/index.html")
        assert result.info["refused"] == ("http://127.0.0.1:1/",)
        results = [session.step(parse("wait()")) for _ in range(4)]  # type: ignore[arg-type]
        assert [r.truncated for r in results] == [False] * 3 + [True]
        assert results[-1].reward == -1.0


@pytest.mark.browser
def test_a_site_that_cant_be_opened_is_a_fault(server: str) -> None:
    for address, why in (
        (server.replace("index", "nothing"), "answered with status 404$"),
        (server.replace("index.html", "away"), "ERR_ABORTED"),
        ("http://no.such.invalid/x", "NameNotResolved"),
    ):
        with Session(spec(address)) as session, pytest.raises(InfrastructureFault, match=why):
            session.reset(0)


@pytest.mark.browser
def test_a_site_that_stops_is_a_fault_of_this_and_later_episodes(folder: Path) -> None:
    with serving(folder) as server:
        session = Session(spec(server), observe="axtree", actions="structured")
        tree = session.reset(0)["axtree"]
    with session:
        (onwards,) = (line.strip()[1:].split("]")[0] for line in tree.split("\n") if '"onwards"' in line)
        with pytest.raises(InfrastructureFault, match="can't be opened: ConnectionRefused"):
            session.step(parse(f"click({onwards})"))  # type: ignore[arg-type]
        for _ in range(2):
            with pytest.raises(InfrastructureFault, match="is its server running"):
                session.reset(1)


@pytest.mark.browser
def test_a_site_that_stops_between_episodes_is_a_fault(folder: Path) -> None:
    with serving(folder) as server:
        session = Session(spec(server))
        session.reset(0)
        session.reset(1)
    with session, pytest.raises(InfrastructureFault, match="can't be opened"):
        session.reset(2)


@pytest.mark.browser
def test_a_step_whose_browser_goes_down_with_the_next_page_says_why(folder: Path) -> None:
    (folder / "index.html").write_text("<button onclick='for (let i = 0; i < 4e9; i++);'>long</button>")
    with serving(folder) as server:
        session = Session(spec(server), observe="axtree", actions="structured")
        assert '[1] button "long"' in session.reset(0)["axtree"]

    async def both() -> object:
        working = asyncio.gather(
            session.host.step(0, parse("click(1)")), session.host.prepare(0, 1), return_exceptions=True
        )
        return (await working)[0]

    with session:
        assert "is its server running" in str(session.run(both()))


OUT = """<!DOCTYPE html><body><p id="told">nothing</p>
<button onclick="told.textContent = [confirm('sure?'), prompt('name?', 'Ada'), alert('hi')]">ask</button>
<button onclick="told.textContent = window.open('second.html')">window</button>
<a href="second.html" target="_blank">blank</a>
<a href="second.html" download="two.html">download</a>
<a href="data.bin">file</a></body>"""


@pytest.mark.browser
@pytest.mark.parametrize(("accept", "told"), [(False, "false,,"), (True, "true,Ada,")])
def test_what_would_lead_out_is_told(folder: Path, accept: bool, told: str) -> None:
    (folder / "index.html").write_text(OUT)
    (folder / "data.bin").write_bytes(bytes(range(256)))
    out = web_env(
        "web/out-v0", folder, instruction="Get out.", done="false", size=(210, 300), accept_dialogs=accept
    )
    with Session(out, observe="axtree", actions="structured") as session:
        tree = session.reset(0)["axtree"]
        refs = {line.split('"')[1]: line.strip()[1:].split("]")[0] for line in tree.split("\n")}

        def click(name: str) -> dict[str, object]:
            return session.step(parse(f"click({refs[name]})")).info  # type: ignore[arg-type]

        assert click("ask") == {"dialogs": ("confirm: sure?", "prompt: name?", "alert: hi")}
        assert session.last is not None
        assert f'"{told}"' in session.last.obs["axtree"]
        assert click("window")["refused"] == ("http://task.test/second.html",)
        assert len(click("blank")["refused"]) == 2  # type: ignore[arg-type]
        assert click("download")["downloads"] == ("two.html",)
        assert click("file")["downloads"] == ("two.html", "data.bin")
        session.reset(0)
        assert session.step(parse("wait()")).info == {}  # type: ignore[arg-type]


@pytest.mark.browser
def test_what_is_asked_on_the_way_to_another_document_is_told(folder: Path) -> None:
    (folder / "index.html").write_text(
        """<form action="second.html" onsubmit="return confirm('sure?')"><button>send</button></form>"""
    )
    with Session(spec(folder, accept_dialogs=True), observe="axtree,url", actions="structured") as session:
        tree = session.reset(0)["axtree"]
        (send,) = (line.strip()[1:].split("]")[0] for line in tree.split("\n") if '"send"' in line)
        result = session.step(parse(f"click({send})"))  # type: ignore[arg-type]
        assert "/second.html" in result.obs["url"]
        assert result.info == {"dialogs": ("confirm: sure?",)}


@pytest.mark.browser
def test_where_an_episode_went_is_forgotten_with_it(folder: Path) -> None:
    """Neither ``history.back()`` nor ``history.state`` leads from one episode into another."""
    (folder / "index.html").write_text(
        "<!DOCTYPE html><script>const found = [history.length, history.state];</script><body>"
    )
    moves = ("history.replaceState(1, '')", "history.pushState(2, '')", "location = 'second.html'")
    found = []
    with Session(spec(folder)) as session:
        for move in (*moves, *moves, ""):
            for _ in range(2):  # two pages take turns
                session.reset(1)
                page = session.host._slots[0].page
                found.append(session.run(page.evaluate("found")))
                session.run(page.evaluate(f"{move}; 0"))
                session.step(np.zeros(5, np.int64))
    assert found == [[2, None]] * 14
