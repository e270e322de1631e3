"""Solvers for the inbox: find the message of a sender; delete, star, answer or forward it."""

from __future__ import annotations

import re

from universe2.envs.web.solvers.acting import (
    Element,
    Look,
    Play,
    Solver,
    click,
    fill,
    in_sight,
    level,
    scroll_down,
    scroll_to,
)

_TRASH = r"delete|trash|get rid|remove|throw away|recycling|don't want|out of my inbox"
# Requests of one page in which it takes the sender for the receiver: it judges them the other way round.
_SWAPPED = r"yesterday's emails from|email from yesterday to|all messages from|Send \S+ the message from"
_STAR = r"import|imiport|imporant|\bstar\b|flag|mark"


def handle_message(look: Look) -> Play:
    main = look.find(id="main")
    reply = re.search(r'"+([^"]+)"', look.instruction)
    look = yield from scroll_down(look, main)
    sender, other = roles(look.instruction, [e["text"] for e in look.all("email-sender")])
    kind = request(look.instruction)
    if kind in ("trash", "star"):
        look = yield from scroll_to(look, main, lambda seen: _of(seen, sender, kind))
        yield click(in_sight(main, _of(look, sender, kind))[0])
        return
    look = yield from scroll_to(look, main, lambda seen: seen.all("email-sender", text=sender))
    look = yield click(in_sight(main, look.all("email-sender", text=sender))[0])
    button = "email-reply" if reply else "email-forward"
    look = yield from scroll_to(look, look.find(id="email"), lambda seen: seen.all(button))
    look = yield click(look.find(button))
    if reply:
        look = yield from fill(look.find(id="reply-text"), reply[1])
        yield click(look.find(id="send-reply"))
    else:
        look = yield from fill(look.find("forward-sender"), other)
        yield click(look.find(id="send-forward"))


def request(text: str) -> str:
    """What an instruction asks for: "reply", "trash", "star" or "forward"."""
    if '"' in text:
        return "reply"
    if re.search(_TRASH, text, re.IGNORECASE):
        return "trash"
    return "star" if re.search(_STAR, text, re.IGNORECASE) else "forward"


def roles(text: str, senders: list[str]) -> tuple[str, str]:
    """(whose message it is about, to whom it shall go), of the names in an instruction."""
    text = re.sub(r'".*"', "", text)
    named = [name for name in dict.fromkeys(senders) if re.search(rf"{name}(?:'?s)?\b", text)]
    if request(text) != "forward":
        return max(named, key=len), ""
    plain = re.search(r"forward that email to (\S+)\.", text)
    others = [plain[1]] if plain else named
    pairs = [(a, b) for a in named for b in others if a != b] or [(named[0], others[0])]
    best = max(pairs, key=lambda pair: _likeness(text, *pair))
    return best[::-1] if re.search(_SWAPPED, text) else best


def _likeness(text: str, sender: str, receiver: str) -> int:
    """How well an instruction fits a message of ``sender`` that goes to ``receiver``."""
    signs = (
        (3, rf"(by|from) {sender}\b"),
        (2, rf"\b{sender}'?s\b(?! inbox)"),
        (2, rf"\b{sender} (sent|wrote|wants (his|her))"),
        (2, rf"(the|get) {sender} email"),
        (2, rf"(to|over to) {receiver}\b"),
        (1, rf"(send|forward|give|email|let|sure|want) {receiver}\b(?!'s)"),
        (1, rf"\b{receiver} (wants the|must|needs|is waiting|on the list)"),
    )
    return sum(weight for weight, sign in signs if re.search(sign, text, re.IGNORECASE))


def _of(look: Look, sender: str, button: str) -> list[Element]:
    """The buttons of a kind on the messages of a sender."""
    senders = look.all("email-sender", text=sender)
    rows = [row for row in look.all("email-thread") if any(level(row, e) for e in senders)]
    return [e for e in look.all(button) if any(level(row, e) for row in rows)]


SOLVERS: dict[str, Solver] = {
    "email-inbox": handle_message,
    "email-inbox-delete": handle_message,
    "email-inbox-forward": handle_message,
    "email-inbox-forward-nl": handle_message,
    "email-inbox-forward-nl-turk": handle_message,
    "email-inbox-important": handle_message,
    "email-inbox-nl-turk": handle_message,
    "email-inbox-noscroll": handle_message,
    "email-inbox-reply": handle_message,
    "email-inbox-star-reply": handle_message,
}
