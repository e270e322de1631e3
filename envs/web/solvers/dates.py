"""Solvers for calendars: date pickers, flights on a date, a day's plan."""

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
    drag,
    fill,
    in_sight,
    middle,
    scroll_down,
    scroll_to,
    settle,
    wait,
)
from universe2.envs.web.solvers.reading import numbers, quoted, submit

_MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]


def choose_date(look: Look) -> Play:
    look = yield from pick(look, look.instruction.split()[1])
    yield click(submit(look))


def pick(look: Look, date: str) -> Moves:
    """Take a date (MM/DD/YYYY) from the date picker. It opens at the last month allowed."""
    month, day, _ = (int(part) for part in date.split("/"))
    look = yield click(look.find(id="datepicker"))
    look = yield from settle(look)
    while look.find("ui-datepicker-month")["text"] != _MONTHS[month - 1]:
        shown = _MONTHS.index(look.find("ui-datepicker-month")["text"])
        look = yield click(look.find("ui-datepicker-prev" if shown >= month else "ui-datepicker-next"))
    look = yield click(look.find(tag="a", text=str(day)))
    while look.has("ui-datepicker-calendar"):  # it fades out over what is below
        look = yield from wait(1)
    return look


def book_flight(look: Look) -> Play:
    found = re.search(r"Book the (\w+) one-way flight from: (.*) to: (.*) on (\S+)\.", look.instruction)
    assert found is not None
    kind, origin, destination, date = found.groups()
    look = yield from _airport(look, "flight-from", origin)
    look = yield from _airport(look, "flight-to", destination)
    look = yield from pick(look, date)
    look = yield click(look.find(id="search"))
    area = look.find(id="area")
    look = yield from scroll_down(look, area)
    best = _least([e["text"] for e in look.all("time-duration" if kind == "shortest" else "flight-price")])
    look = yield from scroll_to(look, area, lambda seen: seen.all("flight-price")[best : best + 1])
    yield click(look.all("flight-price")[best])


def _airport(look: Look, field: str, place: str) -> Moves:
    """Type some of a city's name or an airport's code, and take the entry that has all of it."""
    look = yield from fill(look.find(id=field), re.split(r"[^A-Za-z ]", place)[0].lower().strip())
    look = yield from wait(5)
    frame = look.all("ui-autocomplete")[-1]

    def entries(seen: Look) -> list[Element]:
        return [e for e in seen.all("ui-menu-item-wrapper") if place in e["text"]]

    look = yield from scroll_to(look, frame, entries)
    return (yield click(in_sight(frame, entries(look))[0]))


def buy_ticket(look: Look) -> Play:
    cls = "time-duration" if "duration" in look.instruction else "buy-ticket"
    texts = [e["text"] for e in look.all(cls)]
    most = "longest" in look.instruction or "expensive" in look.instruction
    wanted = _least(texts, -1) if most else _least(texts)
    yield click(look.all("buy-ticket")[wanted])


def _least(texts: list[str], sign: int = 1) -> int:
    """The index of the least number ("7h 5m" and "$70" are numbers), or of the greatest if ``sign`` is -1."""
    values = [sign * sum(n * 60**-i for i, n in enumerate(numbers(text))) for text in texts]
    return values.index(min(values))


def daily_calendar(look: Look) -> Play:
    """Drag over free half-hours of the time asked for, then name what is new."""
    found = re.search(r"Create a ([\d.]+) (hours?|mins) event .*, between (\d+)(AM|PM) and", look.instruction)
    assert found is not None
    length = round(float(found[1]) / (30 if found[2] == "mins" else 0.5))
    first = (int(found[3]) % 12 + 12 * (found[4] == "PM")) * 2
    area = look.find(id="area")
    # The whole window is taller than the calendar: look for room at its beginning, then further down.
    for start in range(first, first + 8 - length + 1):
        ids = [f"hh-{start + i}" for i in range(length)]
        look = yield from scroll_to(look, area, partial(Look.all, id=ids[-1]))
        slots = [look.find(id=name) for name in ids]
        free = not any(_overlap(slot, event) for slot in slots for event in look.all("event"))
        if free and len(in_sight(area, slots)) == length:
            break
    x = middle(slots[0])[0]
    top, bottom = (x, middle(slots[0])[1]), (x, middle(slots[-1])[1])
    look = yield from drag([top, (x + 3, top[1]), bottom, (x + 3, bottom[1])])
    look = yield from fill(look.find(id="event-name"), quoted(look.instruction)[0])
    look = yield from scroll_to(look, area, lambda seen: seen.all("create"))
    yield click(look.find("create"))


def _overlap(slot: Element, event: Element) -> bool:
    ends = (e["top"] + e["height"] for e in (slot, event))
    return bool(max(slot["top"], event["top"]) + 2 < min(ends))


SOLVERS: dict[str, Solver] = {
    "book-flight": book_flight,
    "book-flight-nodelay": book_flight,
    "buy-ticket": buy_ticket,
    "choose-date": choose_date,
    "choose-date-easy": choose_date,
    "choose-date-medium": choose_date,
    "choose-date-nodelay": choose_date,
    "daily-calendar": daily_calendar,
}
