"""Solvers for checkboxes, radio buttons, lists and drop-down menus."""

from __future__ import annotations

from functools import partial

from universe2.envs.web.solvers.acting import (
    Element,
    Look,
    Moves,
    Play,
    Solver,
    act,
    click,
    fill,
    in_sight,
    level,
    middle,
    scroll_to,
)
from universe2.envs.web.solvers.reading import between, listed, numbers, ordinal, quoted, submit

_SYNONYMS = """
big large huge enormous gigantic; small tiny little mini petite; red scarlet crimson vermillion;
happy cheerful joyful gleeful delighted; sad unhappy sorrowful miserable tragic;
angry mad furious irritated; evil wicked immoral sinful corrupt depraved;
wrong incorrect mistaken erroneous; real genuine actual; strange odd peculiar unusual weird;
stop cease halt end finish; scared terrified panicked fearful frightened afraid;
quiet calm peaceful serene mild; old aged archaic; love like adore favor; kill murder assassinate;
keep retain preserve sustain maintain; hide conceal camouflage; hate despise loathe detest dislike;
funny humorous amusing comical laughable; fat fleshy plump chubby; stupid dumb dull unwise;
delicious savory delectable appetizing; cut slice carve chop; brave courageous fearless;
begin start initiate launch; answer reply response; television televisions TV TVs;
house home houses homes; fire flame fires flames; pig pork swine; rabbit rabbits bunny bunnies;
car cars automobile automobiles vehicle vehicles; water
"""
_GROUPS = [set(group.split()) for group in _SYNONYMS.split(";")]

# For each digit the seven rows of its picture, each row four boxes as the bits of a hexadecimal digit.
_DIGITS = [
    "6999996",
    "2622222",
    "699248F",
    "6916196",
    "8AAF222",
    "F88E196",
    "698E996",
    "F912244",
    "6996996",
    "6997196",
]


def _similar(one: str, other: str) -> bool:
    return one == other or any({one, other} <= group for group in _GROUPS)


def checkboxes(look: Look) -> Play:
    """Tick every label that the instruction lists, or one that means the same."""
    wanted = listed(look.instruction)
    for label in look.all(tag="label"):
        if any(_similar(label["text"], word) for word in wanted):
            look = yield click(label)
    yield click(submit(look))


def number_checkboxes(look: Look) -> Play:
    boxes = look.all(type="checkbox")
    rows = _DIGITS[int(quoted(look.instruction)[0])]
    for box, on in zip(boxes, "".join(f"{int(row, 16):04b}" for row in rows), strict=True):
        if on == "1":
            look = yield click(box)
    yield click(submit(look))


def choose_list(look: Look) -> Play:
    """With the keyboard: the list that a click opens is drawn by the system, outside the page."""
    (wanted,) = listed(look.instruction)
    look = yield act(key="Tab")
    while look.find(tag="select")["value"] != wanted:
        look = yield act(arrow="down")
    yield click(submit(look))


def scroll_list(look: Look) -> Play:
    wanted = listed(look.instruction)
    for count, name in enumerate(wanted):
        frame = look.find(tag="select")
        look = yield from scroll_to(look, frame, partial(Look.all, tag="option", text=name))
        if count:
            yield act(middle(frame), key="Control")
        look = yield click(look.find(tag="option", text=name))
    yield click(submit(look))


def form_sequence_2(look: Look) -> Play:
    radio, box = (ordinal(part) for part in look.instruction.split(" and enter "))
    look = yield click(look.all(type="radio")[radio])
    look = yield from fill(look.all(type="text")[box], quoted(look.instruction)[0])
    yield click(submit(look))


def form_sequence_3(look: Look) -> Play:
    wanted = between("Choose ", " from the dropdown", look.instruction)
    look = yield click(look.find("selectric"))
    look = yield from scroll_to(
        look, look.find("selectric-scroll"), lambda seen: seen.all(tag="li", text=wanted)
    )
    look = yield click(look.find(tag="li", text=wanted))
    yield click(look.find(tag="button", text=quoted(look.instruction)[0]))


def order_food(look: Look) -> Play:
    """Add the dishes named, or as many as asked for of the first dish that has the right icon."""
    area = look.find(id="area")
    if ": " in look.instruction:
        for name in look.instruction.partition(": ")[2].split(", "):
            look = yield from _add(look, "item-name", name.strip(), 1)
    else:
        kind = look.instruction.rpartition(" ")[2]
        look = yield from _add(look, "", kind, numbers(look.instruction)[0])
    look = yield from scroll_to(look, area, lambda seen: seen.all(tag="button"))
    yield click(look.find(tag="button"))


def _add(look: Look, cls: str, text: str, count: int) -> Moves:
    """Press the plus of the dish that has an element with this text."""
    area = look.find(id="area")

    def plus(seen: Look) -> list[Element]:
        marks = seen.all(cls, text=text)
        dishes = [dish for dish in seen.all("food-item") if any(level(dish, e) for e in marks)]
        return [e for e in seen.all("add") if any(level(dish, e) for dish in dishes)]

    look = yield from scroll_to(look, area, plus)
    button = in_sight(area, plus(look))[0]
    for _ in range(count):
        look = yield click(button)
    return look


SOLVERS: dict[str, Solver] = {
    "choose-list": choose_list,
    "click-checkboxes": checkboxes,
    "click-checkboxes-large": checkboxes,
    "click-checkboxes-soft": checkboxes,
    "click-checkboxes-transfer": checkboxes,
    "click-option": checkboxes,
    "click-scroll-list": scroll_list,
    "form-sequence-2": form_sequence_2,
    "form-sequence-3": form_sequence_3,
    "number-checkboxes": number_checkboxes,
    "order-food": order_food,
}
