"""Solvers for pages of results and posts: search engine, phone book, social media."""

from __future__ import annotations

import re
from functools import partial

from universe2.envs.web.solvers.acting import (
    Element,
    Look,
    Moves,
    Play,
    Solver,
    click,
    fill,
    in_sight,
    level,
    scroll_to,
)
from universe2.envs.web.solvers.reading import between, ordinal, quoted


def search_engine(look: Look) -> Play:
    look = yield from fill(look.find(id="search-text"), quoted(look.instruction)[0])
    look = yield click(look.find(id="search"))
    page, place = divmod(ordinal(look.instruction), 3)
    if page:
        look = yield click(look.find("page-link", text=str(page + 1)))
    yield click(look.all("search-title")[place])


def phone_book(look: Look) -> Play:
    found = re.search(r"Find (.*) in the contact book and click on their ([a-z]+)", look.instruction)
    assert found is not None
    while look.find("name")["text"] != found[1]:
        look = yield click(look.find("page-link", text=">"))
    # A long address takes two lines: its first letters are behind the label, or all of it is below.
    label, link = look.find("property-name", text=f"{found[2].capitalize()}:"), look.find(found[2])
    below = link["top"] > label["top"] + label["height"] / 2
    yield click((link["left"] + 6 if below else label["left"] + label["width"] + 10, link["top"] + 6))


def social_media(look: Look) -> Play:
    user = between("For the user ", ",", look.instruction)
    wanted = quoted(look.instruction)[0]
    button = {"Reply": "reply", "Retweet": "retweet", "Like": "like"}.get(wanted, "more")
    look = yield from _press(look, user, button)
    if button == "more":
        area = look.find(id="area")
        entry = f"{wanted} {user}" if wanted in ("Mute", "Block") else wanted
        look = yield from scroll_to(look, area, partial(Look.all, tag="li", text=entry))
        yield click(in_sight(area, look.all(tag="li", text=entry))[0])


def social_media_posts(look: Look) -> Play:
    """Press the button on all posts of a user, or on as many as asked for, from the top."""
    found = re.search(r'"(.*)" button on (all|\d+) posts? by (\S+) and', look.instruction)
    assert found is not None
    button, left = found[1].lower(), 99 if found[2] == "all" else int(found[2])
    area = look.find(id="area")
    while left:
        fresh = [e for e in _buttons(look, found[3], button) if "active" not in e["classes"].split()]
        if here := in_sight(area, fresh):
            look = yield click(here[0])
            left -= 1
        elif in_sight(area, look.all(tag="button")):
            break
        else:
            look = yield click(area, "wheel-down")
    look = yield from scroll_to(look, area, lambda seen: seen.all(tag="button"))
    yield click(look.find(tag="button"))


def _buttons(look: Look, user: str, button: str) -> list[Element]:
    """The buttons of this kind on the posts of a user."""
    names = look.all("username", text=user)
    posts = [post for post in look.all("media") if any(level(post, name) for name in names)]
    return [e for e in look.all(button) if any(level(post, e) for post in posts)]


def _press(look: Look, user: str, button: str) -> Moves:
    area = look.find(id="area")
    look = yield from scroll_to(look, area, lambda seen: _buttons(seen, user, button))
    return (yield click(in_sight(area, _buttons(look, user, button))[0]))


SOLVERS: dict[str, Solver] = {
    "phone-book": phone_book,
    "search-engine": search_engine,
    "social-media": social_media,
    "social-media-all": social_media_posts,
    "social-media-some": social_media_posts,
}
