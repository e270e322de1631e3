"""Seeds, specs, registry, screen interface, ledger and action checks."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from universe2.core.batch import Column, checked_flag, info_columns, info_rows
from universe2.core.errors import (
    InvalidActionError,
    InvalidSeedError,
    MissingDependencyError,
    ServerLostError,
    Universe2Error,
    UnknownEnvError,
    UsageError,
    error_named,
    name_of,
)
from universe2.core.ledger import SlotLedger
from universe2.core.registry import find, list_envs, register, unregister
from universe2.core.screen import (
    ALL_LIVE,
    ARROWS,
    KEYS,
    NVEC,
    ScreenMap,
    clean_instruction,
    keyboard_table,
    map_of,
    screen_observation_space,
)
from universe2.core.seeding import check_seed, fold31, mix, next_seed, next_seeds, vector_seeds
from universe2.core.spaces import check_actions, empty, put, stack, take, unstack
from universe2.core.spec import EnvConfig, EnvSpec, Requirement
from universe2.runtimes import open_runtime


def spec(**changes: object) -> EnvSpec:
    fields = {"id": "a/B-v0", "runtime": "process", "entry": "m:f", "spaces_from": "m:g"} | changes
    return EnvSpec(**fields)  # type: ignore[arg-type]


def test_splitmix_known_values() -> None:
    # The first three outputs of the published generator seeded with 0.
    golden = 0x9E3779B97F4A7C15
    assert [mix(i * golden % 2**64) for i in range(3)] == [
        0xE220A8397B1DCDAF,
        0x6E789E6AA1B965F4,
        0x06C45D188009454F,
    ]


def test_seeds_of_many_are_those_of_each() -> None:
    seeds = [0, 1, 2**31 - 1, 2**31, 2**63 - 1]
    assert next_seeds(np.array(seeds, np.int64)).tolist() == [next_seed(seed) for seed in seeds]


def test_seed_chain_stays_in_31_bits_and_does_not_stick() -> None:
    seed, seen = 0, set()
    for _ in range(1000):
        seed = next_seed(seed)
        assert 0 <= seed < 2**31
        seen.add(seed)
    assert len(seen) == 1000
    assert fold31(2**31 - 1) == 2**31 - 1
    assert 0 <= fold31(2**62) < 2**31


@pytest.mark.parametrize("bad", [-1, 2**63, 1.0, "1", None, True, np.bool_(True)])
def test_bad_seeds_are_refused(bad: object) -> None:
    with pytest.raises(InvalidSeedError):
        check_seed(bad)


def test_vector_seeds() -> None:
    assert vector_seeds(5, 3) == [5, 6, 7]
    assert vector_seeds(None, 2) == [None, None]
    assert vector_seeds([1, None], 2) == [1, None]
    with pytest.raises(InvalidSeedError, match="expected 3 seeds"):
        vector_seeds([1, 2], 3)


def test_spec_parts_and_hash() -> None:
    one = spec(options={"speed": 1})
    assert (one.family, one.name, one.version) == ("a", "B", 0)
    assert one.hash() == spec(options={"speed": 1}).hash()
    assert one.hash() != one.hash(EnvConfig(options={"speed": 2}))
    assert one.hash() == one.hash(EnvConfig(autoreset="disabled", screen_size=(32, 32)))
    assert one.hash() != one.hash(EnvConfig(interface="screen"))
    with pytest.raises(UsageError, match="Did you mean 'speed'"):
        one.resolve({"sped": 2})
    with pytest.raises(UsageError, match="family/Name-v0"):
        spec(id="nonsense")


@pytest.mark.parametrize("env_id", ["mine/Thing-V1", "mine/Thing-v1.0", "mine/More/Thing-V02"])
def test_a_version_that_is_mistyped_is_not_registered(env_id: str) -> None:
    with pytest.raises(UsageError, match=rf"{re.escape(env_id)}: a version is written -v0, -v1 and so on"):
        register(spec(id=env_id))


@pytest.mark.parametrize("name", ["Thing", "Chapter-V"])
def test_an_id_may_have_no_version(name: str) -> None:
    """Gymnasium's may have none, and are ours as they are, behind the family."""
    bare = spec(id=f"mine/{name}")
    assert (bare.name, bare.version) == (name, None)
    assert register(bare) is bare
    unregister(bare.id)


@pytest.mark.parametrize(
    ("runtime", "hint"), [("gym", ""), ("proces", "Did you mean 'process'?"), ("", ""), ("my.module", "")]
)
def test_a_runtime_that_is_not_there_is_named(runtime: str, hint: str) -> None:
    with pytest.raises(UsageError) as refused:
        open_runtime(spec(runtime=runtime), 1)
    assert str(refused.value) == (
        f"a/B-v0: no runtime {runtime!r}.{' ' * bool(hint)}{hint} "
        "There are browser, compiled, match, native, process, or module:Class"
    )


OPTIONS = {"flag": False, "count": 4, "chance": 0.25, "kind": "easy", "free": None, "many": []}


@pytest.mark.parametrize(
    ("name", "value", "must"),
    [("flag", value, "true or false") for value in (1, "no", None)]
    + [("count", value, "a whole number") for value in (True, np.True_, 4.0, np.float32(4), "4", None, [4])]
    + [("chance", value, "a number") for value in ("0.25", True, None, 1j, np.zeros(2))]
    + [pytest.param("chance", 10**400, "a number", id="beyond floats")]
    + [("kind", value, "a string") for value in (1, b"easy", None, ["easy"])],
)
def test_an_option_has_the_type_of_its_default(name: str, value: object, must: str) -> None:
    with pytest.raises(UsageError) as refused:
        spec(options=OPTIONS).resolve({name: value})
    assert f"a/B-v0: option {name} must be {must}, got {value!r:.120}" in str(refused.value)


def test_equal_options_have_one_hash() -> None:
    one = spec(options=OPTIONS)
    given = {
        "flag": np.True_,
        "count": np.int8(3),
        "chance": 1,
        "kind": np.str_("hard"),
        "free": 7,
        "many": (1,),
    }
    plain = {"flag": True, "count": 3, "chance": 1.0, "kind": "hard", "free": 7, "many": (1,)}
    found = one.resolve(given)
    assert found == plain
    assert [type(value) for value in found.values()] == [type(value) for value in plain.values()]
    assert one.hash(EnvConfig(options=given)) == one.hash(EnvConfig(options=plain))


def test_options_of_native_pictures_are_refused_on_the_screen() -> None:
    one = spec(options=OPTIONS, native_options=("kind", "many"))
    assert one.options_of("native") == OPTIONS
    assert set(OPTIONS) - set(one.options_of("screen")) == {"kind", "many"}
    with pytest.raises(UsageError, match='a/B-v0: option kind has no effect under interface="screen"'):
        one.spaces(EnvConfig(interface="screen", options={"kind": "hard"}))
    with pytest.raises(UsageError, match="native_options has 'knid', which isn't in options"):
        spec(options=OPTIONS, native_options=("knid",))


def test_ranges_are_checked() -> None:
    one = spec(options=OPTIONS)
    ranges = {"count": (1, 4), "chance": (0.0, 1.0), "absent": (0, 0)}
    for good in ({"count": 1, "chance": 0.0}, {"count": 4, "chance": 1.0}):
        one.check_ranges(one.resolve(good), ranges)
    with pytest.raises(UsageError, match=r"a/B-v0: option count must lie in 1\.\.4, got 5"):
        one.check_ranges(one.resolve({"count": 5}), ranges)
    for bad in (-0.1, 1.1, float("nan"), float("inf")):
        with pytest.raises(UsageError, match=rf"chance must lie in 0\.0\.\.1\.0, got {bad}"):
            one.check_ranges(one.resolve({"chance": bad}), ranges)


def test_missing_dependency_names_the_command() -> None:
    lacking = spec(requires=(Requirement("no_such_package_at_all", "pip install it"),))
    assert not lacking.runnable
    with pytest.raises(MissingDependencyError, match=r"a/B-v0 needs no_such_package_at_all .*pip install it"):
        lacking.check_runnable()


@pytest.mark.parametrize("bad", [{"interface": "vnc"}, {"autoreset": "maybe"}, {"screen_size": (4, 64)}])
def test_bad_config(bad: dict) -> None:
    with pytest.raises(UsageError):
        EnvConfig(**bad)


def test_registry_suggests_near_names(counting: EnvSpec) -> None:
    assert find("universe2:testing/Counting-v0") is counting
    assert counting in list_envs("testing")
    with pytest.raises(UnknownEnvError, match=r"Did you mean .*testing/Counting-v0"):
        find("testing/Countin-v0")
    with pytest.raises(UnknownEnvError, match="no family 'nope'"):
        list_envs("nope")
    with pytest.raises(UsageError, match="registered already"):
        register(counting)


def test_errors_travel_by_name() -> None:
    error = error_named("InvalidActionError", "slot 3")
    assert isinstance(error, InvalidActionError)
    assert error.code == "INVALID_ARGUMENT"
    assert type(error_named("NoSuchError", "x")) is Universe2Error


def test_an_error_that_only_this_process_knows_travels_as_what_it_is_a_kind_of() -> None:
    """A gateway's own broken stream reached its client as a break of the client's, which tried again."""

    class Private(ServerLostError):
        pass

    assert name_of(Private("x")) == "ServerLostError"
    assert type(error_named("Private", "x")) is Universe2Error


def test_screen_mask_and_keyboard() -> None:
    assert ALL_LIVE.action_mask().all()
    mask = ScreenMap(arrows=("left", "right"), keys=("Space",)).action_mask()
    assert mask.shape == (sum(NVEC),)
    assert mask.sum() == 3 + 2 + 1 + 1 + 1
    actions = [("none", "none"), ("left", "none"), ("right", "none"), ("none", "Space")]
    table = keyboard_table(actions)
    space, left = KEYS.index("Space"), ARROWS.index("left")
    assert table[0, 0] == 0
    assert table[0, space] == 3
    assert table[left, space] == 1  # no such combination: the arrow counts
    assert table[ARROWS.index("up-left"), 0] == 1
    assert table[ARROWS.index("up"), KEYS.index("a")] == 0
    assert map_of(actions) == ScreenMap(("left", "right"), ("Space",))
    with pytest.raises(ValueError, match="press nothing"):
        keyboard_table([("left", "none")])


def test_instructions_fit_their_space() -> None:
    space = screen_observation_space((8, 8))["instruction"]
    for text in ("", "Click “OK” – now\t!", "x" * 5000):
        assert space.contains(clean_instruction(text))


@pytest.mark.parametrize("flag", [True, 1, np.True_, np.int8(1), np.array(True), np.array([1])], ids=repr)
def test_what_is_a_flag(flag: Any) -> None:
    assert checked_flag("terminated", flag) is True
    assert checked_flag("terminated", flag * 0) is False


@pytest.mark.parametrize("flag", ["no", None, 2, -1, 1.0, [False], {}, np.array(["no"]), np.ones(2, bool)])
def test_what_is_no_flag(flag: Any) -> None:
    with pytest.raises(ValueError, match="truncated must be True or False, got ") as refused:
        checked_flag("truncated", flag)
    assert repr(flag) in str(refused.value)


def test_info_columns_round_trip() -> None:
    rows = [{"a": 1, "b": "x"}, {}, {"a": 2, "c": np.arange(3)}]
    columns = info_columns(rows)
    assert columns["a"].values.dtype == np.int64
    back = info_rows(columns, 3)
    assert back[0] == {"a": 1, "b": "x"}
    assert back[1] == {}
    assert back[2]["c"].tolist() == [0, 1, 2]
    alike = [{"a": 0.5}], [{"a": 0.5}, {"a": 1}]
    kinds = [type(info_rows(info_columns(rows), len(rows))[0]["a"]) for rows in alike]
    assert kinds == [np.float64, np.float64], "what a row says doesn't depend on the others"
    mixed = info_columns([{"a": 1}, {"a": "one"}])["a"]
    assert isinstance(mixed, Column)
    assert mixed.values.tolist() == [1, "one"]


SPACE = spaces.Dict(
    {
        "x": spaces.Box(-1, 1, (2,), np.float32),
        "t": spaces.Tuple([spaces.Discrete(3, start=1), spaces.Text(4)]),
    }
)


def test_batched_values_round_trip() -> None:
    SPACE.seed(0)
    singles = [SPACE.sample() for _ in range(4)]
    batched = stack(SPACE, singles)
    assert batched["x"].shape == (4, 2)
    assert [v["t"][1] for v in unstack(SPACE, batched, 4)] == [v["t"][1] for v in singles]
    some = take(SPACE, batched, np.array([2, 0]))
    assert some["t"][1] == (singles[2]["t"][1], singles[0]["t"][1])
    target = put(SPACE, empty(SPACE, 4), np.array([2, 0]), some)
    assert np.array_equal(target["x"][2], singles[2]["x"])
    assert target["t"][1][0] == singles[0]["t"][1]


@pytest.mark.parametrize(
    ("space", "action", "complaint"),
    [
        (spaces.Discrete(3, start=1), [1, 4], r"slot 9: action: expected Discrete\(3, start=1\), received"),
        (spaces.Discrete(3), [0.0, 1.0], "expected dtype int64"),
        (spaces.Discrete(3), [True, False], "expected dtype int64"),
        (spaces.MultiDiscrete([2, 2]), [[0, 1], [0, 2]], "slot 9"),
        (spaces.Box(-1, 1, (1,), np.float32), [[0.5], [1.5]], "slot 9"),
        (spaces.Box(-1, 1, (1,), np.float32), [[np.nan], [0.0]], "slot 4"),
        (spaces.Box(-1, 1, (1,), np.float32), [["a"], ["b"]], "expected dtype float32"),
        (spaces.MultiBinary(2), [[0, 1], [2, 0]], "slot 9"),
        (spaces.Text(3), ["abc", "abcd"], "slot 9"),
        (
            spaces.Dict({"a": spaces.Discrete(2)}),
            {"b": [0, 0]},
            r"a dict of \['a'\], received \['b'\]",
        ),
        (spaces.Dict({"a": spaces.Discrete(2)}), {"a": [0, 2]}, r"slot 9: action\['a'\]"),
        (spaces.Tuple([spaces.Discrete(2)]), ([0, 0], [0, 0]), "a tuple of 1"),
    ],
)
def test_wrong_actions_name_slot_and_expectation(space: spaces.Space, action: object, complaint: str) -> None:
    with pytest.raises(InvalidActionError, match=complaint):
        check_actions(space, action, np.array([4, 9]))


def test_right_actions_take_the_space_dtype() -> None:
    box = check_actions(spaces.Box(-1, 1, (1,), np.float32), np.array([[0.25]]), np.array([0]))
    assert box.dtype == np.float32
    small = check_actions(spaces.Discrete(3), np.array([2], np.uint8), np.array([0]))
    assert small.dtype == np.int64


def test_ledger_refuses_what_can_not_be() -> None:
    ledger = SlotLedger(3, "disabled")
    for slots, complaint in (([3], "lie in 0..2"), ([0, 0], "twice"), ([0.5], "list of integers")):
        with pytest.raises(UsageError, match=complaint):
            ledger.check_slots(slots)
    with pytest.raises(InvalidSeedError, match="expected 2 seeds"):
        ledger.begin_reset([0, 1], [1])
    ledger.begin_reset([0], [1])
    with pytest.raises(UsageError, match="slot 0 is still busy"):
        ledger.begin_step([0])
    assert ledger.busy().tolist() == [0]
