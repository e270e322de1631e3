"""Settings of a run: read from a file, refused where they can't be meant."""

from __future__ import annotations

import dataclasses

import pytest
from toy_run import quiet, toy_config

from universe2.agents.config import TaskConfig, TrainConfig, from_table, load_config
from universe2.agents.train import train
from universe2.core.errors import UsageError


@pytest.fixture
def config(tmp_path, monkeypatch):
    return toy_config(tmp_path, monkeypatch)


def test_configs_are_read_and_typos_are_named(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text('out_dir = "x"\nlr = 0.1\n[tasks."a/B-v0"]\nslots = 4\noptions = { k = 1 }\n')
    config = load_config(path)
    assert config.tasks == (TaskConfig(env_id="a/B-v0", slots=4, options={"k": 1}),)
    assert config.lr == 0.1
    path.write_text('out_dir = "x"\nepoch = 3\n[tasks."a/B-v0"]\n')
    with pytest.raises(UsageError, match=r"no key 'epoch'\. Did you mean 'epochs'"):
        load_config(path)
    path.write_text('out_dir = "x"\n[tasks."a/B-v0"]\nslot = 3\n')
    with pytest.raises(UsageError, match="Did you mean 'slots'"):
        load_config(path)
    path.write_text("out_dir = ")
    with pytest.raises(UsageError, match="is not TOML"):
        load_config(path)
    with pytest.raises(UsageError, match="cannot read the config"):
        load_config(tmp_path / "none.toml")
    with pytest.raises(UsageError, match="needs tasks"):
        from_table({"out_dir": "x"})


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"lr": "fast"}, "training config: lr must be a number, got 'fast'"),
        ({"rollout": 1.5}, "rollout must be a whole number, got 1.5"),
        ({"epochs": True}, "epochs must be a whole number, got True"),
        ({"lockstep": 1}, "lockstep must be true or false, got 1"),
        ({"screen_size": 64}, r"screen_size must be \[height, width\], got 64"),
        ({"remotes": "a:1"}, "remotes must be a list of \"host:port\", got 'a:1'"),
        (
            {"tasks": {"a/B-v0": {"slots": "two"}}},
            r'tasks\."a/B-v0": slots must be a whole number, got \'two\'',
        ),
        ({"tasks": {"a/B-v0": {"options": 3}}}, "options must be a table, got 3"),
        ({"tasks": {"a/B-v0": 3}}, r'tasks\."a/B-v0" must be a table, got 3'),
    ],
)
def test_values_of_another_kind_are_named(wrong, told):
    good = {"out_dir": "x", "lr": 1, "tasks": {"a/B-v0": {"slots": 4, "share": 2}}}
    assert from_table(good).lr == 1
    with pytest.raises(UsageError, match=told):
        from_table({**good, **wrong})


def test_a_device_that_nobody_has_is_named(config):
    with pytest.raises(UsageError, match='device = "tpu" is none that PyTorch knows'):
        train(TrainConfig(**{**vars(config), "device": "tpu"}), console=quiet())


def test_what_is_said_elsewhere_counts_before_the_file(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('seconds = 5\n[tasks."arcade/Maze-v0"]\nslots = 4\n')
    with pytest.raises(UsageError, match="out_dir"):
        load_config(path)
    found = load_config(path, out_dir="here", seconds=7.0)
    assert (found.out_dir, found.seconds) == ("here", 7.0)


def test_quotas_follow_the_shares():
    tasks = (TaskConfig(env_id="a/B-v0"), TaskConfig(env_id="a/C-v0", share=3.0))
    config = TrainConfig(tasks=tasks, out_dir="x", rollout=32, batch_steps=4096)
    assert config.quota() == (32, 96)
    with pytest.raises(UsageError, match="too few for 4 minibatches"):
        TrainConfig(tasks=tasks[:1], out_dir="x", rollout=32, batch_steps=64)


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("total_steps", 0, "at least 1"),
        ("batch_steps", 0, "at least 1"),
        ("seconds", 0, "above 0"),
        ("seconds", float("nan"), "above 0"),
        ("clip", -0.1, "above 0"),
        ("seed", -1, "between 0 and"),
        ("lr", float("nan"), "at least 0"),
        ("max_steps_off_policy", -1, "at least 0"),
        ("keep_every_steps", -5, "at least 0"),
        ("gamma", 2, "between 0 and 1"),
    ],
)
def test_numbers_out_of_bounds_are_refused(config, key, value, told):
    with pytest.raises(UsageError, match=f"{key} = {value:g}: it must be {told}"):
        TrainConfig(**{**vars(config), key: value})


FLOATS = [field.name for field in dataclasses.fields(TrainConfig) if str(field.type) == "float"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("key", FLOATS)
def test_no_setting_takes_what_is_not_finite(config, key, value):
    if (key, value) == ("seconds", float("inf")):  # no limit
        return
    with pytest.raises(UsageError, match=f"^{key} = {value:g}: it must be "):
        TrainConfig(**{**vars(config), key: value})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0, -1.0])
def test_a_share_is_a_number_above_0(config, value):
    tasks = (TaskConfig(env_id="a/B-v0", share=value), TaskConfig(env_id="a/C-v0"))
    with pytest.raises(UsageError, match=f"a/B-v0: share = {value:g}: it must be above 0 and finite"):
        TrainConfig(**{**vars(config), "tasks": tasks})
