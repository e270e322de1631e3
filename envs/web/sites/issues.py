"""Issue board: reports to open, sort, hand on, discuss and close. What is said can't be taken back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from universe2.envs.web.site import Fact, Move, Request, Served, Task, options, text

_STATUSES = ("Open", "In progress", "Closed")
_LABELS = ("bug", "feature", "question", "docs")
_PRIORITIES = ("low", "normal", "high")
_PEOPLE = ("Nobody", "Amal", "Bjorn", "Chidi", "Dana", "Elif")
_TITLES = (
    "Login page is blank", "Dark colours", "Search forgets umlauts", "Export as table", "Slow start",
    "Wrong currency", "Crash on empty name", "Install guide is old", "Undo button", "Mail sent twice",
    "Larger pictures", "Time zone is off", "Keyboard shortcuts", "Broken link in help",
)  # fmt: skip
_REMARKS = ("I can reproduce this", "Fixed in the next release", "Please send a picture", "Same here")


@dataclass
class Issue:
    title: str
    status: str
    assignee: str
    label: str
    priority: str
    comments: list[str] = field(default_factory=list)

    @property
    def fact(self) -> Fact:
        return ("issue", self.title, self.status, self.assignee, self.label, self.priority)


class Issues(Served):
    """Nine reports, each with a title of its own."""

    title = "Trackboard"
    final = frozenset({"comment"})
    routes: ClassVar = {
        "/": "board",
        "/find": "find",
        "/issue/": "issue",
        "/save/": "save",
        "/comment/": "comment",
        "/new": "new",
        "/create": "create",
    }

    def fill(self) -> None:
        self.issues = [
            Issue(
                title,
                _STATUSES[number % 3 if number < 6 else 0],
                self.rng.choice(_PEOPLE[1:] if number % 4 else _PEOPLE[:1]),
                self.rng.choice(_LABELS),
                self.rng.choice(_PRIORITIES),
            )
            for number, title in enumerate(self.rng.sample(_TITLES, 9))
        ]

    def facts(self) -> frozenset[Fact]:
        said = {("comment", i.title, n, words) for i in self.issues for n, words in enumerate(i.comments)}
        return frozenset(said | {issue.fact for issue in self.issues})

    def menu(self) -> list[tuple[str, str]]:
        return [("/", "Board"), ("/new", "New issue")]

    def board(self, request: Request) -> str:
        columns = "".join(
            f'<div class="card"><h2>{status}</h2>'
            f"{self._list([i for i in self.issues if i.status == status])}</div>"
            for status in _STATUSES
        )
        find = (
            '<form action="/find" role="search"><input type="search" name="q" aria-label="Find issues"> '
            "<button>Find</button></form><p></p>"
        )
        return self.page("Board", f'{find}<div class="cards">{columns}</div>')

    def find(self, request: Request) -> str:
        words = request.values.get("q", "").lower().split()
        found = [i for i in self.issues if all(w in " ".join(map(str, i.fact)).lower() for w in words)]
        return self.page(f"{len(found)} found", self._list(found))

    def issue(self, request: Request) -> str:
        return self._show(self._find(request))

    def save(self, request: Request) -> str:
        issue, values = self._find(request), request.values
        for key, among in _FIELDS.items():
            if values.get(key) in among:
                setattr(issue, key, values[key])
        self.notice = "Saved."
        return self._show(issue)

    def comment(self, request: Request) -> str:
        issue, words = self._find(request), request.values.get("words", "").strip()
        if words:
            issue.comments.append(words)
        return self._show(issue)

    def new(self, request: Request) -> str:
        blank = Issue("", "Open", "Nobody", "bug", "normal")
        title = '<label>Title <input name="title"></label>'
        return self.page("New issue", _form("/create", title, blank, "Create"))

    def create(self, request: Request) -> str:
        values = request.values
        title = values.get("title", "").strip()
        if not title or any(values.get(key) not in among for key, among in _FIELDS.items()):
            self.notice = "A title is needed."
            return self.new(request)
        chosen = (values[key] for key in ("status", "assignee", "label", "priority"))
        status, assignee, label, priority = chosen
        self.issues.append(Issue(title, status, assignee, label, priority))
        return self._show(self.issues[-1])

    def _list(self, issues: list[Issue]) -> str:
        return "".join(
            f'<p><a href="/issue/{self.issues.index(i)}">{text(i.title)}</a><br>'
            f'<span class="tag">{i.label}</span> <span class="tag">{i.priority}</span> {i.assignee}</p>'
            for i in issues
        )

    def _show(self, issue: Issue) -> str:
        number = self.issues.index(issue)
        said = "".join(f"<pre>{text(words)}</pre>" for words in issue.comments)
        return self.page(
            issue.title,
            _form(f"/save/{number}", "", issue, "Save")
            + f'<h2>Discussion</h2>{said}<form class="stack" method="post" action="/comment/{number}">'
            '<label>Comment <input name="words"></label><button>Say it</button></form>',
        )

    def _find(self, request: Request) -> Issue:
        number = request.path.rsplit("/", 1)[-1]
        return self.issues[int(number) % len(self.issues) if number.isdigit() else 0]

    def pick(self, **wanted: str) -> Issue:
        """One of the issues with these fields."""
        return self.rng.choice([i for i in self.issues if all(getattr(i, k) == v for k, v in wanted.items())])

    def another(self, among: tuple[str, ...], than: str) -> str:
        return self.rng.choice([name for name in among if name != than])


_FIELDS = {"status": _STATUSES, "assignee": _PEOPLE, "label": _LABELS, "priority": _PRIORITIES}


def _form(path: str, before: str, issue: Issue, name: str) -> str:
    choices = "".join(
        f'<label>{key.capitalize()} <select name="{key}">'
        f"{options(list(among), getattr(issue, key))}</select></label>"
        for key, among in _FIELDS.items()
    )
    return (
        f'<form class="stack" method="post" action="{path}">{before}{choices}<button>{name}</button></form>'
    )


def _change(instruction: str, issues: list[Issue], **changes: str) -> Task:
    moves: list[Move] = []
    for issue in issues:
        moves += [("click", "Board"), ("click", issue.title)]
        moves += [("select", key.capitalize(), value) for key, value in changes.items()]
        moves.append(("click", "Save"))
    changed = frozenset(Issue(**{**vars(issue), **changes}).fact for issue in issues)
    return Task(instruction, changed, frozenset(i.fact for i in issues), tuple(moves))


def _close(board: Issues) -> Task:
    issue = board.pick(status="Open")
    return _change(f'Close the issue "{issue.title}".', [issue], status="Closed")


def _reopen(board: Issues) -> Task:
    issue = board.pick(status="Closed")
    return _change(f'Open the closed issue "{issue.title}" again.', [issue], status="Open")


def _assign(board: Issues) -> Task:
    issue = board.pick(assignee="Nobody")
    person = board.another(_PEOPLE, "Nobody")
    return _change(f'Assign "{issue.title}" to {person}.', [issue], assignee=person)


def _hand_on(board: Issues) -> Task:
    before = board.rng.choice([i for i in board.issues if i.assignee != "Nobody"]).assignee
    after = board.another(_PEOPLE[1:], before)
    theirs = [i for i in board.issues if i.assignee == before]
    return _change(f"{before} is away: assign all issues of {before} to {after}.", theirs, assignee=after)


def _label(board: Issues) -> Task:
    issue = board.pick()
    label = board.another(_LABELS, issue.label)
    return _change(f'Label "{issue.title}" as {label} instead of {issue.label}.', [issue], label=label)


def _priority(board: Issues) -> Task:
    issue = board.pick()
    priority = board.another(_PRIORITIES, issue.priority)
    return _change(f'Set the priority of "{issue.title}" to {priority}.', [issue], priority=priority)


def _start(board: Issues) -> Task:
    issue = board.pick(status="Open")
    person = board.another(_PEOPLE[1:], issue.assignee)
    asked = f'{person} begins with "{issue.title}": assign it to {person} and put it in progress.'
    return _change(asked, [issue], status="In progress", assignee=person)


def _close_progress(board: Issues) -> Task:
    return _change(
        "Close all issues that are in progress.",
        [i for i in board.issues if i.status == "In progress"],
        status="Closed",
    )


def _comment(board: Issues) -> Task:
    issue, words = board.pick(), board.rng.choice(_REMARKS)
    moves = (("click", issue.title), ("type", "Comment", words), ("click", "Say it"))
    wanted = frozenset({("comment", issue.title, 0, words)})
    return Task(f'Comment on "{issue.title}": "{words}".', wanted, frozenset(), moves)


def _comment_and_close(board: Issues) -> Task:
    issue, words = board.pick(status="Open"), board.rng.choice(_REMARKS)
    task = _change(f'Comment "{words}" on "{issue.title}", then close it.', [issue], status="Closed")
    wanted = task.wanted | {("comment", issue.title, 0, words)}
    moves = (("click", issue.title), ("type", "Comment", words), ("click", "Say it"), *task.solution)
    return Task(task.instruction, wanted, task.unwanted, moves)


def _create(board: Issues) -> Task:
    title = board.rng.choice([t for t in _TITLES if t not in {i.title for i in board.issues}])
    person, label, priority = (board.rng.choice(some) for some in (_PEOPLE[1:], _LABELS, _PRIORITIES))
    issue = Issue(title, "Open", person, label, priority)
    moves = (
        ("click", "New issue"),
        ("type", "Title", title),
        *(("select", key.capitalize(), getattr(issue, key)) for key in _FIELDS),
        ("click", "Create"),
    )
    asked = f'Open an issue "{title}": label {label}, priority {priority}, assigned to {person}.'
    return Task(asked, frozenset({issue.fact}), frozenset(), moves)


Issues.templates = {
    "create": _create,
    "close": _close,
    "reopen": _reopen,
    "assign": _assign,
    "hand-on": _hand_on,
    "label": _label,
    "priority": _priority,
    "start": _start,
    "close-in-progress": _close_progress,
    "comment": _comment,
    "comment-and-close": _comment_and_close,
}
