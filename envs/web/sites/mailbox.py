"""Mailbox: folders, stars, and mail that is sent for good."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from universe2.envs.web.site import Fact, Move, Request, Served, Task, button, text

_PEOPLE = ("Ines", "Tomas", "Priya", "Walter", "Noor", "Selma", "Jonas", "Mei")
_TOPICS = (
    ("Lunch on Friday", "Shall we meet at the new place by the river?"),
    ("Quarterly figures", "The table is ready; please look at the second column."),
    ("Lost umbrella", "I left a green one in your office."),
    ("Train tickets", "They are booked for the early train."),
    ("Garden party", "Bring something to grill and a chair."),
    ("Broken printer", "It prints every page twice again."),
    ("Book club", "Next time we talk about the lighthouse chapter."),
    ("Holiday photos", "The best ones are from the harbour."),
    ("Meeting moved", "We meet in the small room instead."),
    ("New keyboard", "It arrived and it is very loud."),
)
_SAYINGS = ("See you there", "Thank you very much", "That works for me", "Not this week", "I will call you")


@dataclass
class Mail:
    sender: str
    subject: str
    body: str
    folder: str = "Inbox"
    starred: bool = False
    unread: bool = True


class Mailbox(Served):
    """Ten mails, each with a subject of its own."""

    title = "Postbox"
    final = frozenset({"sent"})
    routes: ClassVar = {
        "/": "inbox",
        "/folder/": "folder",
        "/mail/": "mail",
        "/star/": "star",
        "/move/": "move",
        "/compose": "compose",
        "/reply/": "reply",
        "/forward/": "forward",
        "/send": "send",
    }

    def fill(self) -> None:
        topics = self.rng.sample(_TOPICS, len(_TOPICS))
        people = [*self.rng.sample(_PEOPLE, 7), *self.rng.sample(_PEOPLE, 3)]
        self.code = str(self.rng.randint(1000, 9999))
        self.mails = [Mail(person, *topic) for person, topic in zip(people, topics, strict=True)]
        for mail in self.mails[7:]:
            mail.folder, mail.unread = "Archive", False
        self.mails[1].starred = self.mails[4].starred = True
        self.mails[5].body += f" The door code is {self.code}."
        self.sent: list[Fact] = []

    def facts(self) -> frozenset[Fact]:
        places = {("folder", m.subject, m.folder) for m in self.mails}
        return frozenset(places | {("star", m.subject) for m in self.mails if m.starred} | set(self.sent))

    def menu(self) -> list[tuple[str, str]]:
        return [*((f"/folder/{f}", f) for f in ("Inbox", "Archive", "Bin")), ("/compose", "Write")]

    def inbox(self, request: Request) -> str:
        return self._list("Inbox")

    def folder(self, request: Request) -> str:
        return self._list(request.path.rsplit("/", 1)[-1])

    def mail(self, request: Request) -> str:
        mail = self._find(request)
        mail.unread = False
        return self._show(mail)

    def star(self, request: Request) -> str:
        mail = self._find(request)
        mail.starred = not mail.starred
        return self._show(mail)

    def move(self, request: Request) -> str:
        mail, before = self._find(request), self._find(request).folder
        to = request.values.get("to", "")
        mail.folder = to if to in ("Inbox", "Archive", "Bin") else before
        self.notice = f"“{mail.subject}” is in {mail.folder} now."
        return self._list(before)

    def compose(self, request: Request) -> str:
        return self._form("Write", "", "", "")

    def reply(self, request: Request) -> str:
        mail = self._find(request)
        return self._form("Reply", mail.sender, f"Re: {mail.subject}", "")

    def forward(self, request: Request) -> str:
        mail = self._find(request)
        return self._form("Forward", "", f"Fwd: {mail.subject}", mail.body)

    def send(self, request: Request) -> str:
        to, subject, body = (request.values.get(n, "").strip() for n in ("to", "subject", "body"))
        if to not in _PEOPLE:
            self.notice = f"Nobody is called “{to}”. There are {', '.join(_PEOPLE)}."
            return self._form("Write", to, subject, body)
        self.sent.append(("sent", to, subject, body))
        self.notice = f"Sent to {to}."
        return self._list("Inbox")

    def _list(self, folder: str) -> str:
        rows = "".join(
            f"<tr{' class=unread' if m.unread else ''}><td>{'★' if m.starred else ''}<td>{m.sender}"
            f'<td><a href="/mail/{number}">{text(m.subject)}</a></tr>'
            for number, m in enumerate(self.mails)
            if m.folder == folder
        )
        head = '<tr><th aria-label="Star"><th>From<th>Subject</tr>'
        return self.page(folder, f"<table>{head}{rows}</table>" if rows else "<p>There is nothing here.</p>")

    def _show(self, mail: Mail) -> str:
        number = self.mails.index(mail)
        moves = "".join(
            f'<form method="post" action="/move/{number}"><input type="hidden" name="to" value="{folder}">'
            f'<button class="quiet">{name}</button></form> '
            for folder, name in (("Archive", "Archive it"), ("Bin", "Delete it"), ("Inbox", "Back to Inbox"))
            if folder != mail.folder
        )
        return self.page(
            mail.subject,
            f"<p>From <strong>{mail.sender}</strong> {'★' if mail.starred else ''}</p>"
            f"<pre>{text(mail.body)}</pre>"
            f'<p><a href="/reply/{number}">Reply</a> · <a href="/forward/{number}">Forward</a></p>'
            + button(f"/star/{number}", "Take the star away" if mail.starred else "Give it a star")
            + f" {moves}",
        )

    def _form(self, heading: str, to: str, subject: str, body: str) -> str:
        return self.page(
            heading,
            '<form class="stack" method="post" action="/send">'
            f'<label>To <input name="to" value="{text(to)}"></label>'
            f'<label>Subject <input name="subject" value="{text(subject)}"></label>'
            f'<label>Text <textarea name="body" rows="5">{text(body)}</textarea></label>'
            "<button>Send</button></form>",
        )

    def _find(self, request: Request) -> Mail:
        number = request.path.rsplit("/", 1)[-1]
        return self.mails[int(number) % len(self.mails) if number.isdigit() else 0]


def _moved(mail: Mail, to: str) -> tuple[frozenset[Fact], frozenset[Fact]]:
    return frozenset({("folder", mail.subject, to)}), frozenset({("folder", mail.subject, mail.folder)})


def _move(box: Mailbox, instruction: str, mails: list[Mail], to: str, verb: str) -> Task:
    moves: list[Move] = []
    for mail in mails:
        moves += [("click", mail.folder), ("click", mail.subject), ("click", verb)]
    wanted = frozenset[Fact]().union(*(_moved(m, to)[0] for m in mails))
    gone = frozenset[Fact]().union(*(_moved(m, to)[1] for m in mails))
    return Task(instruction, wanted, gone, tuple(moves))


def _archive(box: Mailbox) -> Task:
    mail = box.rng.choice(box.mails[:7])
    return _move(box, f'Archive the mail "{mail.subject}".', [mail], "Archive", "Archive it")


def _delete(box: Mailbox) -> Task:
    mail = box.rng.choice(box.mails[:7])
    return _move(box, f"Delete the mail from {mail.sender} in the inbox.", [mail], "Bin", "Delete it")


def _restore(box: Mailbox) -> Task:
    mail = box.rng.choice(box.mails[7:])
    asked = f'Bring the archived mail "{mail.subject}" back to the inbox.'
    return _move(box, asked, [mail], "Inbox", "Back to Inbox")


def _archive_starred(box: Mailbox) -> Task:
    starred = [m for m in box.mails if m.starred]
    return _move(box, "Archive both mails that have a star.", starred, "Archive", "Archive it")


def _empty_archive(box: Mailbox) -> Task:
    return _move(box, "Delete all mails in the archive.", box.mails[7:], "Bin", "Delete it")


def _star(box: Mailbox) -> Task:
    mail = box.rng.choice([m for m in box.mails[:7] if not m.starred])
    moves = (("click", mail.subject), ("click", "Give it a star"))
    wanted = frozenset({("star", mail.subject)})
    return Task(f'Give the mail "{mail.subject}" a star.', wanted, frozenset(), moves)


def _unstar(box: Mailbox) -> Task:
    mail = box.rng.choice([m for m in box.mails if m.starred])
    moves = (("click", mail.subject), ("click", "Take the star away"))
    gone = frozenset({("star", mail.subject)})
    return Task(f"Take the star from the mail that {mail.sender} sent.", frozenset(), gone, moves)


def _send(box: Mailbox) -> Task:
    person, (subject, _), body = box.rng.choice(_PEOPLE), box.rng.choice(_TOPICS), box.rng.choice(_SAYINGS)
    moves = (("click", "Write"), ("type", "To", person), ("type", "Subject", subject), ("type", "Text", body))
    asked = f'Write to {person}: subject "{subject}", text "{body}".'
    return _sends(asked, (person, subject, body), moves)


def _reply(box: Mailbox) -> Task:
    mail, body = box.rng.choice(box.mails[:7]), box.rng.choice(_SAYINGS)
    moves = (("click", mail.subject), ("click", "Reply"), ("type", "Text", body))
    asked = f'Reply "{body}" to the mail "{mail.subject}" and leave its subject as it is.'
    return _sends(asked, (mail.sender, f"Re: {mail.subject}", body), moves)


def _forward(box: Mailbox) -> Task:
    mail = box.rng.choice(box.mails[:7])
    person = box.rng.choice([p for p in _PEOPLE if p != mail.sender])
    moves = (("click", mail.subject), ("click", "Forward"), ("type", "To", person))
    asked = f'Forward the mail "{mail.subject}" to {person} as it is.'
    return _sends(asked, (person, f"Fwd: {mail.subject}", mail.body), moves)


def _tell_code(box: Mailbox) -> Task:
    person, mail = box.rng.choice(_PEOPLE), box.mails[5]
    moves = (
        ("click", mail.subject),
        ("click", "Write"),
        ("type", "To", person),
        ("type", "Subject", "Door code"),
        ("type", "Text", box.code),
    )
    asked = f'A mail in the inbox tells the door code. Send {person} the code alone, subject "Door code".'
    return _sends(asked, (person, "Door code", box.code), moves)


def _sends(asked: str, mail: tuple[str, str, str], moves: tuple[Move, ...]) -> Task:
    return Task(asked, frozenset({("sent", *mail)}), frozenset(), (*moves, ("click", "Send")))


Mailbox.templates = {
    "archive": _archive,
    "delete": _delete,
    "restore": _restore,
    "archive-starred": _archive_starred,
    "empty-archive": _empty_archive,
    "star": _star,
    "unstar": _unstar,
    "send": _send,
    "reply": _reply,
    "forward": _forward,
    "tell-code": _tell_code,
}
