"""Pages are drawn with our own fonts, whatever the machine has."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import ImageFont
from web_session import Session

from universe2.envs.web import web_env
from universe2.envs.web.chromium import FONTS

FAMILIES = {
    "Arial": "LiberationSans-Regular",
    "Helvetica": "LiberationSans-Regular",
    "sans-serif": "LiberationSans-Regular",
    "'Times New Roman'": "LiberationSerif-Regular",
    "serif": "LiberationSerif-Regular",
    "'Courier New'": "LiberationMono-Regular",
    "monospace": "LiberationMono-Regular",
    "Wingdings": "LiberationSerif-Regular",
}
TEXT, SQUARE, EM = "mimic moves", "\N{WHITE CHESS QUEEN}", 2048


def width(font: str, text: str) -> float:
    """At 100 pixels an em, by the tables of the font's file."""
    file = FONTS.parent / f"{font}.ttf"
    return ImageFont.truetype(str(file), EM, layout_engine=ImageFont.Layout.BASIC).getlength(text) * 100 / EM


def test_no_font_without_its_licence_and_no_folder_of_the_machine() -> None:
    families = {path.name.partition("-")[0] for path in FONTS.parent.glob("*.ttf")}
    assert families == {"LiberationSans", "LiberationSerif", "LiberationMono", "DejaVuSans.ttf"}
    for name in ("LICENSE-Liberation.txt", "LICENSE-DejaVu.txt"):
        assert (FONTS.parent / name).stat().st_size > 1000
    assert [found.text for found in ElementTree.parse(FONTS).iter("dir")] == ["."]


@pytest.mark.browser
def test_texts_are_as_wide_as_in_our_fonts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fonts.conf").write_text("<fontconfig></fontconfig>")
    monkeypatch.setenv("FONTCONFIG_FILE", str(tmp_path / "fonts.conf"))  # a machine without any
    texts = {f"i{i}": (family, TEXT) for i, family in enumerate(FAMILIES)} | {"queen": ("Arial", SQUARE)}
    page = tmp_path / "index.html"
    page.write_text(
        '<!DOCTYPE html><meta charset="utf-8"><body>'
        + "".join(
            f'<p><span id="{name}" style="font: 100px {family}; font-kerning: none">{text}</span></p>'
            for name, (family, text) in texts.items()
        )
    )
    spec = web_env("web/fonts-v0", page, instruction="Read.", done="false", size=(2000, 900))
    with Session(spec, elements=True) as session:
        session.reset(1)
        found = {element["id"]: element["width"] for element in session.info["elements"]}
    for i, (family, font) in enumerate(FAMILIES.items()):
        assert found[f"i{i}"] == pytest.approx(width(font, TEXT), abs=0.1), family
    assert found["queen"] == pytest.approx(width("DejaVuSans", SQUARE), abs=0.1)
