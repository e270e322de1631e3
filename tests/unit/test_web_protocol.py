"""What can't be served, and what goes wrong while a message is dealt with, costs no more than itself."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from web_session import Session, action

from universe2.core.host import InfrastructureFault
from universe2.envs.web import web_env
from universe2.runtimes.browser_cdp import Connection
from universe2.runtimes.browser_document import file, single_document

NUL, LONG = "x\0y", "a" * 300
ASKED = """<!DOCTYPE html><script>
const told = [];
for (const path of ["/x%00y", "/" + "a".repeat(300)])
  fetch(path).then((answer) => told.push(answer.status), () => told.push("failed"));
</script>"""


@pytest.mark.parametrize("path", [NUL, LONG, "../page.html", "", "absent.html"])
def test_what_cant_be_served_is_not_there(tmp_path: Path, path: str) -> None:
    assert file(tmp_path, path)[0] == 404


def test_a_file_that_cant_be_read_is_not_there() -> None:
    assert file(Path("/proc/self"), "mem")[0] == 404


def test_references_to_what_cant_be_served_stay(tmp_path: Path) -> None:
    html = f'<script src="{LONG}"></script><link rel="stylesheet" href="page.css">'
    (tmp_path / "page.html").write_text(html)
    (tmp_path / "page.css").write_text(f"p {{ background: url({NUL}) }}")
    told = single_document(tmp_path, "page.html").html
    assert LONG in told
    assert NUL in told


@pytest.mark.browser
def test_a_page_that_asks_for_what_cant_be_served_plays_on(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(ASKED)
    spec = web_env("web/asks-v0", tmp_path, instruction="", done="told.length === 2", reward="1")
    with Session(spec) as session:
        session.reset(0)
        result = session.step(action())
        assert result.terminated
        page = session.host._slots[0].page
        assert session.run(page.evaluate("told")) == [404, 404]


async def opened() -> tuple[Connection, int, int]:
    """A connection, and the other side's ends: what it reads and what it writes."""
    results_out, results_in = os.pipe()
    commands_out, commands_in = os.pipe()
    return await Connection.open(results_out, commands_in), commands_out, results_in


def test_a_listener_that_raises_closes_the_connection_and_says_why() -> None:
    async def play() -> tuple[Connection, list[Any]]:
        connection, out, into = await opened()
        heard: list[Any] = []

        def listener(params: dict[str, Any]) -> None:
            heard.append(params)
            raise KeyError("frameId")

        connection.listen("Page.turned", "", listener)
        answer = connection.send("Page.enable")
        os.write(into, b'{"method":"Page.turned","params":{"n":1}}\0{"id":1,"result":{}}\0{"met')
        with pytest.raises(InfrastructureFault, match=r"KeyError: 'frameId', .*Page\.turned"):
            await answer
        os.close(into)
        os.close(out)
        return connection, heard

    async def later() -> None:
        connection, heard = await play()
        assert heard == [{"n": 1}]
        with pytest.raises(InfrastructureFault, match=r"Page\.close: .*KeyError"):
            await connection.send("Page.close")

    asyncio.run(later())


def test_messages_in_pieces_come_whole() -> None:
    async def play() -> list[Any]:
        connection, out, into = await opened()
        answers = [connection.send("A"), connection.send("B")]
        for piece in (b'{"id":1,"res', b'ult":{"n":1}}\0{"id"', b':2,"result":{"n":2}}\0'):
            os.write(into, piece)
            await asyncio.sleep(0)
        told = [await answer for answer in answers]
        connection.close()
        os.close(into)
        os.close(out)
        return told

    assert asyncio.run(play()) == [{"n": 1}, {"n": 2}]
