"""Calendar: two weeks of appointments to make, move, change and cancel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from universe2.envs.web.site import Fact, Move, Request, Served, Task, button, options, text

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
_WEEKS = ("This week", "Next week")
_TIMES = [f"{hour:02d}:00" for hour in range(8, 19)]
_LENGTHS = ["30 min", "60 min", "90 min"]
_TITLES = (
    "Dentist", "Choir", "Budget talk", "Swimming", "Piano lesson", "Team lunch", "Eye test", "Book fair",
    "Car service", "Interview", "Yoga", "Parents evening", "Site visit", "Haircut",
)  # fmt: skip
_PLACES = ("Room 1", "Room 2", "Town hall", "Clinic", "Library", "Garage")


@dataclass
class Event:
    title: str
    week: str
    day: str
    time: str
    length: str
    place: str

    @property
    def fact(self) -> Fact:
        return ("event", self.title, self.week, self.day, self.time, self.length, self.place)


class Calendar(Served):
    """Nine appointments, each with a title of its own, no two on one day at the same time."""

    title = "Weekly"
    routes: ClassVar = {
        "/": "this_week",
        "/week/": "week",
        "/event/": "event",
        "/new": "new",
        "/save/": "save",
        "/cancel/": "cancel",
        "/create": "create",
    }

    def fill(self) -> None:
        titles = self.rng.sample(_TITLES, 9)
        whens = self.rng.sample([(w, d, t) for w in _WEEKS for d in _DAYS for t in _TIMES[:-3]], 9)
        self.events = [
            Event(title, *when, self.rng.choice(_LENGTHS), self.rng.choice(_PLACES))
            for title, when in zip(titles, whens, strict=True)
        ]

    def facts(self) -> frozenset[Fact]:
        return frozenset(event.fact for event in self.events)

    def menu(self) -> list[tuple[str, str]]:
        return [("/week/0", _WEEKS[0]), ("/week/1", _WEEKS[1]), ("/new", "New appointment")]

    def this_week(self, request: Request) -> str:
        return self._week(_WEEKS[0])

    def week(self, request: Request) -> str:
        return self._week(_WEEKS[request.path.endswith("1")])

    def event(self, request: Request) -> str:
        number, event = self._find(request)
        if event is None:
            return self._week(_WEEKS[0])
        return self.page(
            event.title,
            self._form(f"/save/{number}", event, "Save")
            + "<p></p>"
            + button(f"/cancel/{number}", "Cancel the appointment", quiet=True),
        )

    def new(self, request: Request) -> str:
        blank = Event("", _WEEKS[0], _DAYS[0], _TIMES[0], _LENGTHS[0], _PLACES[0])
        return self.page("New appointment", self._form("/create", blank, "Save"))

    def create(self, request: Request) -> str:
        event = _read(request)
        if event is None:
            self.notice = "A title is needed."
            return self.new(request)
        self.events.append(event)
        self.notice = f"{event.title} is on {event.day} at {event.time}."
        return self._week(event.week)

    def save(self, request: Request) -> str:
        number, event = self._find(request)
        changed = _read(request)
        if event is None or changed is None:
            self.notice = "A title is needed."
            return self._week(_WEEKS[0])
        self.events[number] = changed
        self.notice = f"{changed.title} is on {changed.day} at {changed.time}."
        return self._week(changed.week)

    def cancel(self, request: Request) -> str:
        _, event = self._find(request)
        if event is not None:
            self.events.remove(event)
            self.notice = f"{event.title} is cancelled."
        return self._week(event.week if event is not None else _WEEKS[0])

    def _week(self, week: str) -> str:
        rows = ""
        for day in _DAYS:
            found = sorted((e for e in self.events if (e.week, e.day) == (week, day)), key=lambda e: e.time)
            told = "<br>".join(
                f'{e.time} <a href="/event/{self.events.index(e)}">{text(e.title)}</a> '
                f'<span class="tag">{e.length}</span> <span class="tag">{text(e.place)}</span>'
                for e in found
            )
            rows += f"<tr><th>{day}<td>{told or '–'}</tr>"
        return self.page(week, f"<table>{rows}</table>")

    def _form(self, path: str, event: Event, name: str) -> str:
        choices = "".join(
            f'<label>{label} <select name="{key}">'
            f"{options(list(among), getattr(event, key))}</select></label>"
            for label, key, among in (
                ("Week", "week", _WEEKS),
                ("Day", "day", _DAYS),
                ("Time", "time", _TIMES),
                ("Length", "length", _LENGTHS),
                ("Place", "place", _PLACES),
            )
        )
        return (
            f'<form class="stack" method="post" action="{path}"><label>Title '
            f'<input name="title" value="{text(event.title)}"></label>{choices}<button>{name}</button></form>'
        )

    def _find(self, request: Request) -> tuple[int, Event | None]:
        number = request.path.rsplit("/", 1)[-1]
        if not number.isdigit() or int(number) >= len(self.events):
            return -1, None
        return int(number), self.events[int(number)]

    def pick(self) -> Event:
        return self.rng.choice(self.events)

    def another(self, among: tuple[str, ...] | list[str], than: str) -> str:
        """One of ``among`` that isn't ``than``."""
        return self.rng.choice([name for name in among if name != than])


def _read(request: Request) -> Event | None:
    keys = {"week": _WEEKS, "day": _DAYS, "time": _TIMES, "length": _LENGTHS, "place": _PLACES}
    values = {key: request.values.get(key, "") for key in keys}
    title = request.values.get("title", "").strip()
    if not title or any(value not in keys[key] for key, value in values.items()):
        return None
    return Event(title, **values)


def _when(event: Event) -> str:
    return f"{event.day} {event.week.lower()}"


def _open(event: Event) -> tuple[Move, ...]:
    return (("click", event.week), ("click", event.title))


def _change(calendar: Calendar, event: Event, instruction: str, **changes: str) -> Task:
    """Change an appointment; ``changes`` by the names of its fields."""
    changed = Event(**{**vars(event), **changes})
    moves: list[Move] = list(_open(event))
    for key, value in changes.items():
        moves.append(("type", "Title", value) if key == "title" else ("select", key.capitalize(), value))
    wanted, gone = frozenset({changed.fact}), frozenset({event.fact})
    return Task(instruction, wanted, gone, (*moves, ("click", "Save")))


def _move_day(calendar: Calendar) -> Task:
    event = calendar.pick()
    day = calendar.another(_DAYS, event.day)
    return _change(calendar, event, f'Move "{event.title}" to {day} of the same week, same time.', day=day)


def _move_time(calendar: Calendar) -> Task:
    event = calendar.pick()
    time = calendar.another(_TIMES, event.time)
    return _change(calendar, event, f'Let "{event.title}" begin at {time}, on its day.', time=time)


def _later(calendar: Calendar) -> Task:
    event = calendar.pick()
    time = _TIMES[_TIMES.index(event.time) + 1]
    return _change(calendar, event, f'Let "{event.title}" begin one hour later.', time=time)


def _other_week(calendar: Calendar) -> Task:
    event = calendar.pick()
    week = calendar.another(_WEEKS, event.week)
    return _change(calendar, event, f'Move "{event.title}" to {week.lower()}, same day and time.', week=week)


def _rename(calendar: Calendar) -> Task:
    event = calendar.pick()
    title = calendar.rng.choice([t for t in _TITLES if t not in {e.title for e in calendar.events}])
    return _change(calendar, event, f'Rename "{event.title}" to "{title}".', title=title)


def _elsewhere(calendar: Calendar) -> Task:
    event = calendar.pick()
    place = calendar.another(_PLACES, event.place)
    return _change(
        calendar, event, f'"{event.title}" takes place in another place now: {place}.', place=place
    )


def _last(calendar: Calendar) -> Task:
    event = calendar.pick()
    length = calendar.another(_LENGTHS, event.length)
    return _change(calendar, event, f'Let "{event.title}" last {length}.', length=length)


def _cancel(calendar: Calendar) -> Task:
    event = calendar.pick()
    moves = (*_open(event), ("click", "Cancel the appointment"))
    return Task(f'Cancel "{event.title}".', frozenset(), frozenset({event.fact}), moves)


def _clear_day(calendar: Calendar) -> Task:
    event = calendar.pick()
    day = [e for e in calendar.events if (e.week, e.day) == (event.week, event.day)]
    moves = [move for e in day for move in (*_open(e), ("click", "Cancel the appointment"))]
    gone = frozenset(e.fact for e in day)
    return Task(f"Cancel every appointment on {_when(event)}.", frozenset(), gone, tuple(moves))


def _make(event: Event, instruction: str) -> Task:
    moves: tuple[Move, ...] = (
        ("click", "New appointment"),
        ("type", "Title", event.title),
        *(("select", key.capitalize(), value) for key, value in vars(event).items() if key != "title"),
        ("click", "Save"),
    )
    return Task(instruction, frozenset({event.fact}), frozenset(), moves)


def _new(calendar: Calendar) -> Task:
    title = calendar.rng.choice([t for t in _TITLES if t not in {e.title for e in calendar.events}])
    parts: Any = (calendar.rng.choice(among) for among in (_WEEKS, _DAYS, _TIMES, _LENGTHS, _PLACES))
    event = Event(title, *parts)
    asked = f'Make an appointment "{title}" on {_when(event)} at {event.time}, {event.length}, {event.place}.'
    return _make(event, asked)


def _after(calendar: Calendar) -> Task:
    first = calendar.pick()
    title = calendar.rng.choice([t for t in _TITLES if t not in {e.title for e in calendar.events}])
    time = _TIMES[_TIMES.index(first.time) + 2]
    event = Event(title, first.week, first.day, time, "60 min", first.place)
    when = f'two hours after the beginning of "{first.title}", in the same place'
    return _make(event, f'Make an appointment "{title}" of 60 min, {when}.')


Calendar.templates = {
    "new": _new,
    "new-after": _after,
    "move-day": _move_day,
    "move-time": _move_time,
    "move-week": _other_week,
    "hour-later": _later,
    "rename": _rename,
    "change-place": _elsewhere,
    "change-length": _last,
    "cancel": _cancel,
    "clear-day": _clear_day,
}
