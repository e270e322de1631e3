"""The compiled runtime with the arcade games: subsets, limits, snapshots, modes, debug mode."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from universe2.core.errors import ClosedError, DeadlineError, InvalidActionError, UsageError
from universe2.core.screen import ARROWS, KEYS
from universe2.core.spec import EnvConfig, EnvSpec
from universe2.envs.arcade import games
from universe2.envs.arcade.game import OUTCOMES
from universe2.runtimes.compiled import CompiledRuntime
from universe2.runtimes.compiled_pack import STREAM

SPECS = list(games())
IDS = [spec.name for spec in SPECS]
MAZE = SPECS[IDS.index("Maze")]
every_game = pytest.mark.parametrize("spec", SPECS, ids=IDS)


def opened(spec: EnvSpec, slots: int = 3, autoreset: Any = "next_step", **options: Any) -> CompiledRuntime:
    return CompiledRuntime(spec, slots, EnvConfig(autoreset=autoreset, options=options))


def begun(spec: EnvSpec, slots: int = 3, autoreset: Any = "next_step", **options: Any) -> CompiledRuntime:
    runtime = opened(spec, slots, autoreset, **options)
    runtime.reset(range(slots), range(slots))
    runtime.recv()
    return runtime


def stepped(runtime: CompiledRuntime, slots: Any, actions: Any) -> Any:
    runtime.send(slots, np.asarray(actions))
    return runtime.recv()


@every_game
def test_alone_in_seven_and_in_subsets(spec: EnvSpec) -> None:
    """Slot 3's trajectory doesn't depend on its company or on the calls' grouping."""
    actions = np.random.default_rng(1).integers(0, opened(spec).action_space.n, 120)  # type: ignore[attr-defined]
    seven, alone = begun(spec, 7, max_steps=50), opened(spec, 1, max_steps=50)
    alone.reset([0], [3])
    assert np.array_equal(seven.render([3])[0], alone.recv().obs[0])
    for k, action in enumerate(actions):
        mine = stepped(alone, [0], [action])
        group = [3] if k % 3 == 0 else [5, 3, 0] if k % 3 == 1 else list(range(7))
        batch = stepped(seven, group, [action if s == 3 else 0 for s in group])
        row = group.index(3)
        assert np.array_equal(batch.slots, group)
        assert np.array_equal(batch.obs[row], mine.obs[0])
        for name in ("reward", "terminated", "truncated", "step", "episode", "seed"):
            assert getattr(batch, name)[row] == getattr(mine, name)[0]


def test_many_large_frames_are_those_of_few() -> None:
    """Frames that are written past the caches by several threads: large ones, and others of odd sizes."""
    spec = games()[0]
    for size, count in ((256, 1 + STREAM // (256 * 256 * 3)), (84, 1 + STREAM // (84 * 84 * 3))):
        many, few = begun(spec, count, size=size), begun(spec, 3, size=size)
        assert many._frames_N.size >= STREAM > few._frames_N.size
        for action in (1, 2, 1):
            seen = stepped(many, range(count), np.full(count, action))
            wanted = stepped(few, range(3), np.full(3, action))
            assert (seen.obs[:3] == wanted.obs).all()
        pictures = many.render(range(count), (size, size))
        assert all((picture == frame).all() for picture, frame in zip(pictures, seen.obs, strict=True))
        many.close()
        few.close()


@every_game
def test_step_limit_truncates_and_says_so(spec: EnvSpec) -> None:
    runtime = begun(spec, 2, max_steps=5)
    for _ in range(4):
        assert not stepped(runtime, [0, 1], [0, 0]).ended.any()
    batch = stepped(runtime, [0, 1], [0, 0])
    assert batch.truncated.all()
    assert not batch.terminated.any()
    assert batch.info["outcome"].values.tolist() == ["time", "time"]
    again = stepped(runtime, [0, 1], [0, 0])
    assert again.step.tolist() == [0, 0]
    assert again.episode.tolist() == [1, 1]
    assert again.reward.tolist() == [0.0, 0.0]


@every_game
def test_same_step_keeps_the_final_observation(spec: EnvSpec) -> None:
    """What next-step autoreset shows last is what same-step autoreset hands over as final."""
    same, plain = begun(spec, 2, "same_step", max_steps=3), begun(spec, 2, max_steps=3)
    for _ in range(3):
        a, b = stepped(same, [0, 1], [0, 0]), stepped(plain, [0, 1], [0, 0])
    assert a.final_rows.tolist() == [0, 1]
    assert np.array_equal(a.final_obs, b.obs)
    assert a.final_info["outcome"].values.tolist() == ["time", "time"]
    assert (a.step.tolist(), a.episode.tolist()) == ([3, 3], [0, 0])
    first = stepped(plain, [0, 1], [0, 0])
    assert np.array_equal(a.obs, first.obs)
    assert np.array_equal(a.info["level"].values, first.info["level"].values)
    assert not np.array_equal(a.obs, a.final_obs)


@every_game
def test_snapshots_lead_to_the_same_future(spec: EnvSpec) -> None:
    runtime = begun(spec, 3, max_steps=60)
    actions = np.random.default_rng(2).integers(0, runtime.action_space.n, (80, 2))  # type: ignore[attr-defined]
    for action in actions[:20]:
        last = stepped(runtime, [0, 2], action)
    saved = runtime.snapshot([0, 2])

    def future() -> list[Any]:
        batches = [stepped(runtime, [0, 2], a) for a in actions[20:]]
        return [(b.obs.tobytes(), b.reward.tolist(), b.ended.tolist(), b.seed.tolist()) for b in batches]

    first = future()
    runtime.restore([0, 2], saved)
    back = runtime.recv()
    assert back.step.tolist() == last.step.tolist()
    assert future() == first


def test_snapshots_of_others_are_refused() -> None:
    maze, other = begun(MAZE, 1), begun(MAZE, 1, max_steps=7)
    (state,) = maze.snapshot([0])
    for bad, hint in [
        (state[:-1], "damaged"),
        (b"", "not a snapshot"),
        (b"XXXX" + state[4:], "not a snapshot"),
        (other.snapshot([0])[0], "the snapshot is of spec"),
        (state[:4] + b"\x09\x00" + state[6:], "format 9"),
    ]:
        with pytest.raises(UsageError, match=hint):
            maze.restore([0], [bad])
    stepped(maze, [0], [0])
    with pytest.raises(UsageError, match="never reset"):
        opened(MAZE).snapshot([0])


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"ending": len(OUTCOMES)}, "no snapshot of .* has ending 6, where there are 0 to 5"),
        ({"ending": 255}, "has ending 255"),
        ({"step": -1}, "has step -1, below 0"),
        ({"seed": -5}, "has seed -5, below 0"),
        ({"body": b""}, "has a body of 0 bytes"),
        ({"body": bytes(9)}, "has a body of 9 bytes"),
    ],
)
def test_snapshots_that_were_made_up_are_refused_and_move_nothing(
    changed: dict[str, Any], complaint: str
) -> None:
    maze = begun(MAZE, 2)
    states = maze.snapshot([0, 1])
    made_up = maze._format.pack(maze._format.unpack(states[1])._replace(**changed))
    with pytest.raises(UsageError, match=complaint):
        maze.restore([0, 1], [states[0], made_up])
    assert maze.snapshot([0, 1]) == states
    assert stepped(maze, [0, 1], [0, 0]).step.tolist() == [1, 1]


def test_held_out_levels_differ_from_training_levels() -> None:
    seeds = np.arange(400)
    train, test = opened(MAZE, 400, num_levels=200), opened(MAZE, 400, start_level=200)
    levels = []
    for runtime in (train, test):
        runtime.reset(seeds, seeds)
        levels.append(runtime.recv().info["level"].values)
    assert levels[0].min() >= 0
    assert levels[0].max() < 200
    assert len(np.unique(levels[0])) > 150
    assert levels[1].min() >= 200
    assert len(np.unique(levels[1])) == 400


@every_game
def test_hard_levels_differ_and_stay_hard(spec: EnvSpec) -> None:
    easy, hard = begun(spec, 6), begun(spec, 6, difficulty="hard", max_steps=2)
    levels = hard._states_N.copy()
    levels["hard"] = 0
    assert (easy._states_N != levels).any()
    for _ in range(4):
        stepped(hard, range(6), [0] * 6)
    assert hard._states_N["hard"].tolist() == [1] * 6
    with pytest.raises(UsageError, match="of spec"):
        hard.restore([0], easy.snapshot([0]))


def test_screen_and_native_agree_and_dead_parts_do_nothing() -> None:
    native = begun(MAZE, 1)
    screen = CompiledRuntime(MAZE, 1, EnvConfig(interface="screen", screen_size=(64, 64)))
    screen.reset([0], [0])
    screen.recv()
    assert screen.action_mask is not None
    assert screen.action_mask.sum() == 5 + 1 + 1 + 1 + 1
    for arrow, native_action in [("left", 3), ("up", 1), ("none", 0), ("right", 2), ("up-right", 2)]:
        # A dead key, pointer and button come along.
        action = [[ARROWS.index(arrow), KEYS.index("a"), 17, 40, 1]]
        a, b = stepped(screen, [0], action), stepped(native, [0], [native_action])
        assert np.array_equal(a.obs["screen"], b.obs)
        assert "pellets" in a.obs["instruction"][0]
        assert screen.observation_space.contains({k: v[0] for k, v in a.obs.items()})


@pytest.mark.parametrize("size", [(64, 64), (40, 100), (256, 256)])
def test_render_at_any_size(size: tuple[int, int]) -> None:
    for spec in SPECS:
        runtime = begun(spec, 2)
        small, large = runtime.render([1])[0], runtime.render([1], size)[0]
        assert large.shape == (*size, 3)
        assert np.abs(small.mean((0, 1)) - large.mean((0, 1))).max() < 16


def test_wrong_use_is_refused_and_moves_nothing() -> None:
    runtime = begun(MAZE, 2)
    before = runtime.render([0])[0]
    with pytest.raises(InvalidActionError, match="slot 1"):
        runtime.send([0, 1], [0, 5])
    with pytest.raises(UsageError, match="recv"):
        runtime.recv()
    with pytest.raises(UsageError, match="num_levels"):
        opened(MAZE, num_levels=-1)
    with pytest.raises(UsageError, match='must be "easy" or "hard", got \'brutal\''):
        opened(MAZE, difficulty="brutal")
    with pytest.raises(UsageError, match="option size must be a whole number, got 64"):
        opened(MAZE, size=64.0)
    assert np.array_equal(runtime.render([0])[0], before)
    runtime.send([0], [0])
    with pytest.raises(UsageError, match="busy"):
        runtime.render([0])
    runtime.close()
    runtime.close()
    with pytest.raises(ClosedError):
        runtime.recv()


def test_contiguous_slots_come_back_without_a_copy() -> None:
    runtime = begun(MAZE, 4)
    assert stepped(runtime, [1, 2], [0, 0]).obs.base is not None
    assert stepped(runtime, [1, 3], [0, 0]).obs.base is None


@every_game
def test_a_slot_takes_at_most_twice_its_frame(spec: EnvSpec) -> None:
    runtime = opened(spec, 256)
    kept = [*vars(runtime).values(), *vars(runtime._ledger).values()]
    octets = sum(array.nbytes for array in kept if isinstance(array, np.ndarray))
    assert 64 * 64 * 3 < octets / 256 <= 2 * 64 * 64 * 3


def test_recv_waits_no_longer_than_told() -> None:
    runtime = begun(MAZE, 1)
    runtime._ledger.phase[0] = 3
    with pytest.raises(DeadlineError):
        runtime.recv(timeout=0.01)


PROGRAM = """
import hashlib, sys
import numpy as np
from universe2.core.spec import EnvConfig
from universe2.envs.arcade import games
from universe2.envs.arcade.game import OUTCOMES
from universe2.runtimes.compiled import CompiledRuntime

for spec in games():
    runtime = CompiledRuntime(spec, 2, EnvConfig(options={"size": 16}))
    runtime.reset([0, 1], [11, 12])
    sums = hashlib.sha256(runtime.recv().obs.tobytes())
    for k in range(60):
        runtime.send([0, 1], np.array([k // 7, k // 5]) % runtime.action_space.n)
        batch = runtime.recv()
        sums.update(batch.obs.tobytes() + batch.reward.tobytes() + batch.terminated.tobytes())
    print(spec.id, sums.hexdigest(), "numba.core.compiler" in sys.modules)
"""


def test_debug_mode_plays_the_same_games() -> None:
    def run(debug: str) -> str:
        environment = {**os.environ, "UNIVERSE2_DEBUG": debug}
        command = [sys.executable, "-W", "error", "-c", PROGRAM]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=110)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run("1") == run("0")


def test_a_read_only_home_works(tmp_path: Path) -> None:
    # A file where the cache folder should be: even root can't make a folder there.
    blocker = tmp_path / "cache"
    blocker.write_text("")
    program = """
import numba
from universe2.runtimes.compiled_build import build, digest
def triple(x):
    return 3 * x
print(build(triple, {}, digest({"triple": triple}), parallel=False)(14))
"""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(blocker)}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout == "42\n", done.stderr
    assert "could not be kept" in done.stderr


def test_the_key_sees_callees_and_constants() -> None:
    from universe2.runtimes.compiled_build import digest

    def functions(constant: int, body: str) -> Any:
        names: dict[str, Any] = {"C": constant}
        exec(f"def inner(x):\n    return {body}\ndef outer(x):\n    return inner(x) + C\n", names)
        return names["outer"]

    base = digest({"f": functions(1, "x + 1")})
    assert digest({"f": functions(1, "x + 1")}) == base
    assert digest({"f": functions(2, "x + 1")}) != base
    assert digest({"f": functions(1, "x + 2")}) != base
    assert digest({"f": functions(1, "x - 1")}) != base


REBUILT = """
import sys
sys.path.insert(0, sys.argv[1])
from importlib import import_module
from universe2.runtimes.compiled_build import build, digest
inner = import_module(sys.argv[2]).inner
def outer(x):
    return 2 * inner(x)
print(build(outer, {}, digest({"outer": outer}), parallel=False)(20))
"""
INNER = """
def inner(x):
    if x == 0:
        raise ValueError("nothing")
    return x + 1
"""


def test_code_on_disk_that_cannot_be_used_is_compiled_anew(tmp_path: Path) -> None:
    kept = tmp_path / "cache" / "compiled"

    def run(module: str) -> str:
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(kept.parent)}
        command = [sys.executable, "-c", REBUILT, str(tmp_path), module]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)
        assert done.stdout == "42\n", done.stderr
        return done.stderr

    (tmp_path / "fruit.py").write_text(INNER)
    assert run("fruit") == run("fruit") == ""
    (tmp_path / "fruit.py").rename(tmp_path / "berry.py")  # what lies on disk names the module
    assert "could not be read: ModuleNotFoundError" in run("berry")
    assert run("berry") == ""
    for suffix in ("nbc", "nbi"):
        (damaged,) = kept.glob(f"*.{suffix}")
        damaged.write_bytes(b"damaged" + damaged.read_bytes())
        assert "could not be read: UnpicklingError" in run("berry")
    assert run("berry") == ""


def test_a_game_that_moved_has_the_same_rules_and_other_machine_code() -> None:
    from universe2.runtimes.compiled_driver import _LOOPS, Drivers

    def made(module: str) -> Drivers:
        names: dict[str, Any] = {"__name__": module}
        exec("def step(state, keys):\n    return 0, 0\n", names)
        return Drivers(np.dtype([("rng", np.int64)]), {"game_step": names["step"]}, {}, _LOOPS)

    here, there = made("catch"), made("fruit")
    assert here.digest == there.digest  # or snapshots would be refused
    assert here.key != there.key
