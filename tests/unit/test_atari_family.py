"""Atari: the list, the rules around the console, and episodes that are functions of their seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

ale_py = pytest.importorskip("ale_py")

from universe2.core.errors import UnsupportedError, UsageError  # noqa: E402
from universe2.core.registry import find, list_envs  # noqa: E402
from universe2.core.screen import ARROWS, KEYS  # noqa: E402
from universe2.core.spec import EnvConfig  # noqa: E402
from universe2.envs.atari import GAMES, KEYBOARD, OPTIONS, RULES, unlocked  # noqa: E402
from universe2.envs.atari.console import Console  # noqa: E402
from universe2.runtimes import open_runtime  # noqa: E402


def console(rom: str = "breakout", **rules: Any) -> Console:
    return Console(rom, rgb=False, **{**{name: OPTIONS[name] for name in RULES}, **rules})


def trajectory(one: Console, seed: int, steps: int = 200) -> list[Any]:
    one.reset(seed)
    frames: list[Any] = [one.frames[0].tobytes()]
    for action in np.random.default_rng(1).integers(len(one.action_names), size=steps).tolist():
        outcome = one.step(action)
        frames.append((one.frames[0].tobytes(), one.frames[1].tobytes(), outcome, one.info()["lives"]))
        if outcome.terminated or outcome.truncated:
            break
    return frames


def test_every_cartridge_of_the_package_is_listed() -> None:
    found = {path.stem for path in (Path(ale_py.__file__).parent / "roms").glob("*.bin")}
    assert set(GAMES) == found - {"combat", "joust", "maze_craze", "warlords"}
    assert {"atari/MsPacman-v0", "atari/Pong-v0"} <= {spec.id for spec in list_envs("atari")}


def test_keyboard_is_in_the_order_of_the_action_set() -> None:
    assert list(KEYBOARD) == console().action_names


def test_an_episode_is_a_function_of_its_seed() -> None:
    one, other = console(noop_max=10), console(noop_max=10)
    first = trajectory(one, 5)
    assert trajectory(other, 8) != first
    assert trajectory(other, 5) == first, "another console, after another episode"
    assert trajectory(one, 5) == first, "the same console again"
    assert trajectory(one, 2**62 + 1) != first


@pytest.mark.parametrize("fire_reset", [False, True])
def test_an_episode_that_is_handed_out_is_not_over(fire_reset: bool) -> None:
    """Where doing nothing ends the game it begins again, for as much of nothing as is left."""
    one = console("breakout", noop_max=30, fire_reset=fire_reset, max_frames=7)
    shown: list[int] = []
    advance = one._advance
    one._advance = lambda action: (shown.append(action), advance(action))[1]
    most = 0
    for seed in range(12):
        shown.clear()
        one.reset(seed)
        assert one.info()["episode_frame_number"] == len(shown) % 7
        most = max(most, len(shown))
    assert most > 7


def test_start_is_that_of_a_freshly_loaded_cartridge() -> None:
    """Restoring the saved state is the same as loading the cartridge and resetting the game."""
    ours = console("ms_pacman", sticky=0.0, frameskip=1)
    trajectory(ours, 3)
    ours.reset(4)
    ale = ale_py.ALEInterface()
    ale.setInt("random_seed", 99)
    ale.setFloat("repeat_action_probability", 0.0)
    ale.loadROM(str(ale_py.roms.get_rom_path("ms_pacman")))
    ale.reset_game()
    for action in np.random.default_rng(2).integers(18, size=300).tolist():
        outcome = ours.step(action)
        assert outcome.reward == ale.act(action)
        assert np.array_equal(ours.frames[0], ale.getScreenGrayscale())


@pytest.mark.parametrize("rom", ["amidar", "assault", "qbert", "tetris", "trondead"])
def test_an_episode_is_not_changed_by_those_before_it(rom: str) -> None:
    """Restoring a state is not enough in some of these games, and resetting the game not in others."""
    one = console(rom)
    first = trajectory(one, 7, 40)
    for seed in (8, 9):
        trajectory(one, seed, 30 * seed)
        assert trajectory(one, 7, 40) == first


@pytest.mark.parametrize("rom", ["lost_luggage", "skiing", "pong"])
def test_the_action_space_is_the_cartridges(rom: str) -> None:
    spec = next(spec for spec in list_envs("atari") if spec.kwargs["rom"] == rom)
    native = spec.spaces(EnvConfig()).action
    assert native.n == len(console(rom).action_names)  # type: ignore[attr-defined]
    mask = spec.spaces(EnvConfig(interface="screen")).action_mask
    assert mask is not None
    keys = mask[len(ARROWS) : len(ARROWS) + len(KEYS)]
    assert keys[KEYS.index("Space")] == (rom == "pong")


def test_a_game_whose_saved_states_are_not_exact_says_so() -> None:
    runtime = open_runtime("atari/Tetris-v0", 1)
    runtime.reset([0], [1])
    runtime.recv()
    with pytest.raises(UnsupportedError, match="tetris: ale-py's saved states leave out"):
        runtime.snapshot([0])
    runtime.close()


def test_sticky_actions_stick_as_often_as_they_should() -> None:
    one = console("pong", sticky=0.25)
    one.reset(0)
    shown: list[int] = []
    advance = one._advance
    one._advance = lambda action: (shown.append(action), advance(action))[1]
    for step in range(500):
        one.step(step % 2)  # every step wants another action than the one before
    firsts = [a != i % 2 for i, a in enumerate(shown[::4])]
    assert 0.20 < np.mean(firsts) < 0.30
    seconds = [a != i % 2 for i, a in enumerate(shown[1::4])]
    assert 0.03 < np.mean(seconds) < 0.10  # 0.25 squared: stuck twice in a row


def test_a_frame_without_the_lock_is_the_same_frame(caplog: pytest.LogCaptureFixture) -> None:
    free, locked = console("seaquest"), console("seaquest")
    assert not caplog.text, "this ale-py looks unknown"
    locked._advance = locked._ale.act
    assert trajectory(free, 6, 60) == trajectory(locked, 6, 60)
    assert free._ale.getFrameNumber() == locked._ale.getFrameNumber()


def test_an_unknown_library_is_used_with_its_lock(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(unlocked, "_functions", lambda: None)
    unlocked._warn.cache_clear()
    one = console("seaquest")
    assert "one core" in caplog.text
    monkeypatch.undo()
    assert trajectory(one, 6, 30) == trajectory(console("seaquest"), 6, 30)


def test_frame_limit_truncates_and_does_not_terminate() -> None:
    one = console(max_frames=10)
    one.reset(0)
    outcomes = [one.step(0) for _ in range(3)]
    assert [outcome.truncated for outcome in outcomes] == [False, False, True]
    assert not outcomes[-1].terminated


def test_episodic_life_ends_with_the_first_life() -> None:
    one = console(episodic_life=True, sticky=0.0, fire_reset=True)
    one.reset(0)
    for _ in range(500):
        outcome = one.step(1)
        if outcome.terminated:
            break
    assert outcome.terminated
    assert one.info()["lives"] == 4


def test_observation_shapes_follow_the_options() -> None:
    for options in ({"size": 64, "stack": 2}, {"grayscale": False}, {"full_action_space": False}):
        runtime = open_runtime("atari/Pong-v0", 1, EnvConfig(options=options))
        runtime.reset([0], [1])
        batch = runtime.recv()
        assert runtime.observation_space.contains(batch.obs[0])
        assert runtime.render([0])[0].shape == (210, 160, 3)
        assert runtime.render([0], (50, 40))[0].shape == (50, 40, 3)
        actions = len(runtime._slots[0]._console.action_names)  # type: ignore[attr-defined]
        assert runtime.action_space.n == actions  # type: ignore[attr-defined]
        runtime.close()


def test_the_stack_holds_the_last_frames() -> None:
    runtime = open_runtime("atari/Breakout-v0", 1)
    runtime.reset([0], [1])
    seen = [runtime.recv().obs[0].copy()]
    assert not seen[0][:3].any()
    for action in (1, 3, 3, 4, 4):
        runtime.send([0], [action])
        seen.append(runtime.recv().obs[0].copy())
        assert np.array_equal(seen[-1][:3], seen[-2][1:])
    runtime.close()


def test_the_screen_is_rgb_and_the_keyboard_the_joystick() -> None:
    spec, config = find("atari/MsPacman-v0"), EnvConfig(interface="screen", screen_size=(40, 50))
    runtime: Any = open_runtime(spec, 1, config)
    runtime.reset([0], [1])
    obs = runtime.recv().obs
    assert spec.spaces(config).observation.contains(
        {"screen": obs["screen"][0], "instruction": obs["instruction"][0]}
    )
    assert "Ms Pacman" in obs["instruction"][0]
    assert len({tuple(pixel) for pixel in obs["screen"].reshape(-1, 3)}) > 10
    shown: list[int] = []
    console = runtime._slots[0]._console
    console.step = lambda index: (shown.append(index), Console.step(console, index))[1]
    for arrow in range(len(ARROWS)):
        for key in ("none", "Space"):
            runtime.send([0], np.array([[arrow, KEYS.index(key), 0, 0, 0]]))
            runtime.recv()
    runtime.close()
    names = list(KEYBOARD)
    assert [names[index] for index in shown[:4]] == ["NOOP", "FIRE", "UP", "UPFIRE"]
    assert sorted(shown) == list(range(18))


@pytest.mark.parametrize("env_id", ["atari/Pong-v0", "atari/MontezumaRevenge-v0"])
@pytest.mark.parametrize("interface", ["native", "screen"])
def test_snapshots_go_on_alike_in_another_runtime(env_id: str, interface: Any) -> None:
    config = EnvConfig(interface=interface)
    one, other = open_runtime(env_id, 2, config), open_runtime(env_id, 1, config)
    one.reset([0, 1], [3, 4])
    one.recv()
    one.action_space.seed(5)
    actions = [np.stack([one.action_space.sample()] * 2) for _ in range(60)]
    for action in actions[:20]:
        one.send([0, 1], action)
        one.recv()
    saved, picture = one.snapshot([1]), one.render([1])[0]
    other.restore([0], saved)
    back = other.recv()
    assert (back.step.tolist(), back.seed.tolist()) == ([20], [4])
    assert np.array_equal(other.render([0])[0], picture)
    assert other.snapshot([0]) == saved, "a snapshot of what was just restored"
    for action in actions[20:]:
        one.send([0, 1], action)
        other.send([0], action[:1])
        a, b = one.recv(), other.recv()
        pixels = (a.obs, b.obs) if interface == "native" else (a.obs["screen"], b.obs["screen"])
        assert np.array_equal(pixels[0][1], pixels[1][0])
        assert (a.reward[1], a.terminated[1], a.info["lives"].values[1]) == (
            b.reward[0],
            b.terminated[0],
            b.info["lives"].values[0],
        )
    one.close()
    other.close()


@pytest.mark.parametrize(
    ("name", "value", "must"),
    [("sticky", value, r"lie in 0\.0\.\.1\.0") for value in (1.5, -0.1, float("nan"))]
    + [("sticky", "0.25", "be a number")]
    + [
        ("frameskip", 0, r"lie in 1\.\."),
        ("noop_max", -1, r"lie in 0\.\."),
        ("max_frames", 0, r"lie in 1\.\."),
    ]
    + [("size", 2.5, "be a whole number"), ("stack", True, "be a whole number"), ("stack", 10**9, "lie in 1")]
    + [(name, "no", "be true or false") for name in ("grayscale", "full_action_space", "fire_reset")]
    + [(name, 1, "be true or false") for name in ("episodic_life", "reward_clipping")],
)
def test_wrong_options(name: str, value: object, must: str) -> None:
    with pytest.raises(UsageError, match=f"^atari/Pong-v0: option {name} must {must}.*, got {value!r}$"):
        find("atari/Pong-v0").spaces(EnvConfig(options={name: value}))
