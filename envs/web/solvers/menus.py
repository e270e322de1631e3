"""Solvers for what opens up: tabs, sections, menus, pie menus, trees."""

from __future__ import annotations

import math

from universe2.envs.web.solvers.acting import Look, Play, Solver, click, hover, middle, settle, wait
from universe2.envs.web.solvers.reading import quoted


def one_tab(look: Look) -> Play:
    yield click(look.find(tag="a", text=look.instruction.removeprefix("Click on ").rstrip(".")))


def tab_with_link(look: Look) -> Play:
    """Open one tab after the other until the link is there."""
    wanted = quoted(look.instruction)[0]
    for tab in look.all("ui-tabs-anchor")[1:]:
        if look.has("alink", text=wanted):
            break
        look = yield click(tab)
    yield click(look.find("alink", text=wanted))


def section(look: Look) -> Play:
    look = yield click(look.find(tag="h3"))
    look = yield from settle(look)
    yield click(look.find(tag="button"))


def section_with_link(look: Look) -> Play:
    wanted = quoted(look.instruction)[0]
    for index in range(len(look.all(tag="h3"))):
        if look.has("alink", text=wanted):
            break
        look = yield click(look.all(tag="h3")[index])
        look = yield from settle(look)
    yield click(look.find("alink", text=wanted))


def menu(look: Look) -> Play:
    """Rest on each item until its menu opens; a click on the way would choose it."""
    *way, last = look.instruction.removeprefix("Select ").split(">")
    for name in way:
        item = look.find("ui-menu-item-wrapper", text=name)
        yield hover(item)
        look = yield from wait(5, middle(item))
    yield click(look.find("ui-menu-item-wrapper", text=last))


_ICONS = {
    "ui-icon-disk": "Save",
    "ui-icon-seek-start": "Prev",
    "ui-icon-stop": "Stop",
    "ui-icon-play": "Play",
    "ui-icon-seek-end": "Next",
    "ui-icon-zoomin": "Zoom In",
    "ui-icon-zoomout": "Zoom Out",
}


def icon_menu(look: Look) -> Play:
    shown = look.all("ui-icon")
    wanted = _ICONS[shown[0]["classes"].split()[-1]] if shown else quoted(look.instruction)[1]
    look = yield click(look.find(id="open-menu"))
    if not look.has("ui-menu-item-wrapper", text=wanted):
        playback = look.find("ui-menu-item-wrapper", text="Playback")
        yield hover(playback)
        look = yield from wait(5, middle(playback))
    yield click(look.find("ui-menu-item-wrapper", text=wanted))


def pie(look: Look) -> Play:
    """Click while the pie opens: at rest, its first slice is drawn anew at each move and misses clicks."""
    wanted = quoted(look.instruction)[0]
    hub = middle(look.find(tag="tspan", text="+"))
    look = yield click(hub)
    while not (found := [e for e in look.all(tag="tspan", text=wanted) if math.dist(middle(e), hub) > 30]):
        look = yield hover(hub)
    yield click(found[0])


def tree(look: Look) -> Play:
    """Open folders from the top until the name shows."""
    wanted = quoted(look.instruction)[0]
    opened = 0
    while not look.has(tag="span", text=wanted):
        folders = look.all("folder")
        look = yield click(folders[opened])
        look = yield from settle(look)
        opened += 1
    yield click(look.find(tag="span", text=wanted))


SOLVERS: dict[str, Solver] = {
    "click-collapsible": section,
    "click-collapsible-nodelay": section,
    "click-collapsible-2": section_with_link,
    "click-collapsible-2-nodelay": section_with_link,
    "click-menu": menu,
    "click-menu-2": icon_menu,
    "click-pie": pie,
    "click-pie-nodelay": pie,
    "click-tab": one_tab,
    "click-tab-2": tab_with_link,
    "click-tab-2-easy": tab_with_link,
    "click-tab-2-hard": tab_with_link,
    "click-tab-2-medium": tab_with_link,
    "navigate-tree": tree,
}
