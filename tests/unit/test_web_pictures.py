"""Pictures that a style sheet asks for only when something happens: they are in the very next frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from web_session import Session, action

from universe2.core.spec import EnvSpec
from universe2.envs.web.page import OPTIONS, SIZE, WebPage

pytestmark = pytest.mark.browser

FORMATS = ("png", "gif", "jpeg")
COLOUR = (204, 51, 0)
PAGE = """<!DOCTYPE html><head><link rel="stylesheet" href="style.css"></head><body style="margin:0">
<div id="box" style="width:160px;height:210px" onmousedown="this.className = kinds[count++]"></div>
<script>
let count = 0;
const kinds = ["png", "gif", "jpeg"];
</script></body>"""


def page(root: str) -> WebPage:
    return WebPage(root=Path(root), path="page.html", start='() => "Click."', in_frame=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    colour_HWC = np.full((300, 300, 3), COLOUR, np.uint8)
    for kind in FORMATS:
        Image.fromarray(colour_HWC).save(tmp_path / f"picture.{kind}")
    rules = [f".{kind} {{ background: url(picture.{kind}) }}" for kind in FORMATS]
    (tmp_path / "style.css").write_text("\n".join(rules))
    (tmp_path / "page.html").write_text(PAGE)
    return tmp_path


def test_a_picture_shows_in_the_frame_after_the_event_that_asks_for_it(folder: Path) -> None:
    spec = EnvSpec(
        id="web/pictures-v0",
        runtime="browser",
        entry=f"{__name__}:page",
        kwargs={"root": str(folder)},
        spaces_from="universe2.envs.web.page:spaces",
        options=OPTIONS,
    )
    with Session(spec, step_ms=10) as session:
        hashes = set()
        for _ in range(3):  # the third document is the second one of its page
            session.reset(0)
            assert (session.screen == 255).all()
            for kind in FORMATS:
                session.step(action(x=30, y=30, button="click"))
                off = np.abs(session.screen.astype(int) - COLOUR).max()
                assert off <= 3, f"{kind}: {off}"
            assert session.screen.shape[:2] == SIZE
            hashes.add(session.hash.hexdigest())
        assert len(hashes) == 1
