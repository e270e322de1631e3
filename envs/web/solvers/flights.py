"""Solvers for FlightWoB: search forms of two airlines, filled in as the instruction asks.

Their pages are larger than MiniWoB++'s: they play ``on_page``.
"""

from __future__ import annotations

from functools import partial

from universe2.envs.web.flights import SIZE as FLIGHT_SIZE
from universe2.envs.web.solvers.acting import (
    Element,
    Look,
    Moves,
    Play,
    Solver,
    act,
    click,
    fill,
    middle,
    on_page,
    scroll_to,
    settle,
    type_text,
    wait,
)

_MEANT = {"Portland": "Portland, OR", "Dallas": "Dallas, TX", "Washington DC": "Washington, DC"}
"""Which of several airports and cities the makers of the problems took a name for."""
_CODES = {
    "Austin": "AUS",
    "Boston": "BOS",
    "Dallas": "DFW",
    "Denver": "DEN",
    "Las Vegas": "LAS",
    "Los Angeles": "LAX",
    "New York": "NYC",
    "Portland": "PDX",
    "San Diego": "SAN",
    "San Francisco": "SFO",
    "Washington DC": "WAS",
}


def asked(look: Look) -> dict[str, str]:
    """The instruction's fields."""
    return dict(part.split(": ", 1) for part in look.instruction.split("; "))


def alaska(look: Look) -> Play:
    wanted = asked(look)
    look = yield from _city(look, "geo-from", wanted["Departure City"])
    look = yield from _city(look, "geo-to", wanted["Destination City"])
    one_way = wanted.get("Ticket Type") == "One-way"
    if one_way:
        look = yield click(look.find(tag="label", text="One-way"))
    look = yield from _day(look, "departure-date", wanted["Departure Day"])
    if not one_way:
        look = yield from _day(look, "return-date", wanted["Returning Day"])
    for _ in range(int(wanted.get("Passengers", "1")) - 1):
        look = yield click(look.find("tnum-button", text="+"))
    if wanted.get("Seat type") == "First":
        look = yield click(look.find("drop-head"))
        look = yield from settle(look)
        look = yield click(look.find(id="cabin-ftext"))
        look = yield from scroll_to(look, look.find(tag="iframe"), lambda seen: seen.all(type="submit"))
    yield click(look.find(type="submit"))


def _city(look: Look, field: str, name: str) -> Moves:
    """Type a city's name and take the first entry that is this city."""
    meant = _MEANT.get(name, f"{name},")
    look = yield from fill(look.find(id=field), meant.split(",")[0].lower())
    while not (found := [e for e in look.all("input-selection") if e["text"].startswith(meant)]):
        look = yield from wait(1, middle(look.find(id=field)))
    return (yield click(found[0]))


def _day(look: Look, field: str, day: str) -> Moves:
    """Take a day of the month that the calendar shows."""
    look = yield click(look.find(id=field))
    look = yield from settle(look)
    look = yield click(look.find("cal-day", text=day))
    return (yield click(look.find(id="btnDone")))


def american(look: Look) -> Play:
    wanted = asked(look)
    look = yield from _type(look.find(id="segments0.origin"), _CODES[wanted["Departure City"]])
    look = yield from _type(look.find(id="segments0.destination"), _CODES[wanted["Destination City"]])
    for number, name in enumerate(("Departure", "Returning")):
        look = yield click(look.find(id=f"segments{number}.travelDate"))
        look = yield from settle(look)
        look = yield click(look.find("ui-state-default", tag="a", text=wanted[f"{name} Day"]))
        look = yield from settle(look)
    yield click(look.find(type="submit"))


def _type(field: Element, text: str) -> Moves:
    """Put ``text`` in place of what a field holds."""
    yield click(field)
    yield act(middle(field), key="Control+A")
    return (yield from type_text(text, middle(field)))


_on_flight_page = partial(on_page, FLIGHT_SIZE)
SOLVERS: dict[str, Solver] = {
    "flight-AA": _on_flight_page(american),
    "flight-Alaska": _on_flight_page(alaska),
    "flight-Alaska-auto": _on_flight_page(alaska),
    "flight-Alaska-auto-medium": _on_flight_page(alaska),
}
