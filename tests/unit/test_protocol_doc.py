"""docs/protocol.md and the comments of the contract: the example runs, and no name or bound is stale."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from universe2.core import errors, screen
from universe2.server import Server, ServerConfig, door, opening, requests, service, session, silence, viewers
from universe2.wire import buffers, codecs, frames, schema, sharing, sockets

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "protocol.md").read_text("utf-8")
CONTRACT = "".join(path.read_text("utf-8") for path in sorted((ROOT / "protos").rglob("*.proto")))
(EXAMPLE,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
(NUMBERS,) = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("token", ["", "a-token-of-good-length"])
def test_the_example_plays(token: str) -> None:
    server = Server(ServerConfig(port=0, slots=2, token=token or None))
    server.start()
    names: dict[str, Any] = {}
    try:
        exec(EXAMPLE.replace('"127.0.0.1:15900", ""', f'"{server.address}", "{token}"'), names)
        assert server.capacity.slots_free == 2
    finally:
        server.stop(1.0)
    assert names["came"] > 100
    assert names["pictures"].any()
    assert np.isfinite(names["scores"]).all()


def tree(root: type[errors.Universe2Error]) -> Iterator[str]:
    yield root.__name__
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from tree(child)


def test_every_type_of_error_is_there() -> None:
    part = PAGE[PAGE.index("## Types of errors") : PAGE.index("## The screen interface")]
    firsts = "".join(line.split("|")[1] for line in part.splitlines() if line.startswith("| `"))
    listed = re.findall(r"`(\w+)`", firsts)
    assert sorted(listed) == sorted(tree(errors.Universe2Error))
    assert {*re.findall(r"\b[A-Z]\w+Error\b", PAGE + CONTRACT)} <= {
        *listed,
        "ConnectionError",
        "RuntimeError",
    }


def test_every_feature_is_explained() -> None:
    told = CONTRACT[CONTRACT.index("// Capabilities beyond") : CONTRACT.index("repeated string features")]
    assert sorted(re.findall(r'"(\w+)"', told)) == sorted(service.FEATURES)


@pytest.mark.parametrize(
    ("part", "names"), [("arrows", screen.ARROWS), ("key", screen.KEYS), ("button", screen.BUTTONS)]
)
def test_the_screens_numbers_are_those_of_the_code(part: str, names: tuple[str, ...]) -> None:
    (listed,) = re.findall(rf"^{part}:\n((?:  .*\n)+)", NUMBERS, re.MULTILINE)
    assert re.findall(r"(\d+) (\S+)", listed) == [(str(i), name) for i, name in enumerate(names)]


def test_the_bounds_are_those_of_the_code() -> None:
    """Each constant that a client must know, as the texts say it."""
    assert len(screen.ALL_LIVE.action_mask()) == 209
    said = {
        f"first frame doesn't come within {silence.FIRST_SECONDS:g} s": CONTRACT,
        f"request doesn't come within {silence.FIRST_SECONDS:g} s": CONTRACT,
        f"| {silence.FIRST_SECONDS:g} | until the first frame": PAGE,
        f"| {silence.OPEN_SECONDS:g} | until the request of a `Check`": PAGE,
        f"at least every {service.QUEUE_TELLS_SECONDS:g} s": CONTRACT,
        f"still busy after {session.LEAVE_SECONDS:g} s": CONTRACT,
        f"room for {service.MAX_VIEWERS} such streams": CONTRACT,
        f"{viewers.MIN_PER_SECOND:g} … {viewers.MAX_PER_SECOND:g}": CONTRACT,
        f"{session.MAX_REPLIES:,} may wait": CONTRACT,
        f"{session.MAX_REPLIES:,} replies that wait": PAGE,
        f"{frames.MIN_MESSAGE_BYTES:,}": CONTRACT,
        f"At most {frames.MAX_BUFFERS:,}": CONTRACT,
        f"more than {frames.MAX_HEADER_BYTES:,} bytes": CONTRACT,
        f"{requests.MAX_ANSWER_BYTES:,} bytes at most": CONTRACT,
        f"more than {requests.MAX_ANSWER_BYTES // 2**20} MiB in one answer": PAGE,
        f"{door.FIRST_BYTES:,} for the first": CONTRACT,
        f"more than {opening.LONGEST_NAME} characters": CONTRACT,
        f"at least {frames.MIN_PIECE_BYTES} bytes": CONTRACT,
        f"more than {buffers.SPARE_ROWS:,} rows": CONTRACT,
        f"less than {codecs.LEAST_BYTES:,} bytes a row": CONTRACT,
        f"{schema.MAX_SPACES:,} spaces": CONTRACT,
        f"{schema.MAX_DEPTH} levels below the outermost": CONTRACT,
        f"below {sharing.LEAST_BYTES:,} bytes": PAGE,
        f"takes nothing for {sockets._SEND_SECONDS} s": CONTRACT,
        f"of at most {screen.INSTRUCTION_LENGTH:,} characters": PAGE,
        f"`open_deadline`, {ServerConfig().open_deadline:g} |": PAGE,
        f"is closed again, or {opening.LATE_SECONDS:g} s later": PAGE,
    }
    words = {text: " ".join(text.replace("//", " ").split()) for text in (CONTRACT, PAGE)}
    assert [phrase for phrase, text in said.items() if phrase not in words[text]] == []
