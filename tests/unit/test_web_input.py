"""Screen actions become DevTools commands. Needs no browser."""

from __future__ import annotations

import numpy as np
import pytest

from universe2.core.screen import ARROWS, BUTTONS, KEYS
from universe2.runtimes.browser_input import FLUSH, InputState


def action(
    arrow: str = "none", key: str = "none", x: int = 0, y: int = 0, button: str = "none"
) -> np.ndarray:
    return np.array([ARROWS.index(arrow), KEYS.index(key), x, y, BUTTONS.index(button)])


def kinds(commands: list) -> list[str]:
    return [params.get("type", method) for method, params in commands]


@pytest.fixture
def state() -> InputState:
    state = InputState((210, 160))
    state.commands(action())
    return state


def test_pointer_cells_are_centres_of_a_64_by_64_grid() -> None:
    (_, first), flush = InputState((210, 160)).commands(action(x=63, y=0))
    assert (first["x"], first["y"]) == (63.5 / 64 * 160, 0.5 / 64 * 210)
    assert flush == FLUSH


def test_a_resting_pointer_sends_nothing(state: InputState) -> None:
    assert state.commands(action()) == []


def test_move_comes_before_click_and_click_before_keys(state: InputState) -> None:
    sent = kinds(state.commands(action(arrow="up-right", key="a", x=5, button="click")))
    assert sent == ["mouseMoved", "mousePressed", "mouseReleased"] + ["rawKeyDown", "keyUp"] * 2 + [
        "keyDown",
        "keyUp",
    ]


def test_press_holds_until_release(state: InputState) -> None:
    assert kinds(state.commands(action(button="press"))) == ["mousePressed"]
    assert state.commands(action(button="press")) == []
    moved = state.commands(action(x=9))[0][1]
    assert (moved["button"], moved["buttons"]) == ("left", 1)
    assert kinds(state.commands(action(x=9, button="release"))) == ["mouseReleased"]
    assert state.commands(action(x=9, button="release")) == []


@pytest.mark.parametrize("button", ["none", "press", "release", "wheel-down"])
def test_a_move_that_no_event_follows_is_flushed(state: InputState, button: str) -> None:
    if button == "press":
        state.commands(action(button="press"))  # it is held already
    moved = state.commands(action(x=9, button=button))
    assert moved[0][1]["type"] == "mouseMoved"
    assert moved[1] == FLUSH


def test_double_click_counts_to_two(state: InputState) -> None:
    commands = state.commands(action(button="double-click"))
    assert [params["clickCount"] for _, params in commands] == [1, 1, 2, 2]


def test_shift_holds_for_one_key(state: InputState) -> None:
    state.commands(action(key="Shift"))
    click = state.commands(action(button="click"))[0][1]
    assert click["modifiers"] == 8
    capital = state.commands(action(key="q"))
    assert capital[0][1]["text"] == "Q"
    assert kinds(capital) == ["keyDown", "keyUp", "keyUp"]
    assert state.commands(action(key="q"))[0][1]["text"] == "q"


def test_control_adds_to_a_selection(state: InputState) -> None:
    assert [params["modifiers"] for _, params in state.commands(action(key="Control"))] == [2]
    press, release = state.commands(action(button="click"))[-2:]
    assert (press[1]["modifiers"], release[1]["modifiers"]) == (2, 2)
    letter = state.commands(action(key="c"))
    assert kinds(letter) == ["rawKeyDown", "keyUp", "keyUp"]
    assert state.commands(action(button="click"))[0][1]["modifiers"] == 0


def test_a_chord_is_struck_and_let_go(state: InputState) -> None:
    chord = state.commands(action(key="Control+C"))
    assert [params["modifiers"] for _, params in chord] == [2, 2, 2, 0]


@pytest.mark.parametrize("key", KEYS[1:])
def test_every_key_is_described(state: InputState, key: str) -> None:
    commands = state.commands(action(key=key))
    assert commands
    assert all(params["windowsVirtualKeyCode"] > 0 and params["code"] for _, params in commands)
    typed = commands[0][1].get("text")
    assert typed == (key if len(key) == 1 else {"Space": " ", "Enter": "\r"}.get(key))
