"""The learner: order, exact resume, masks, memory, and what happens when the loss is NaN."""

from __future__ import annotations

import dataclasses
import os
import threading

import numpy as np
import pytest
import torch

from universe2.agents import checkpoint
from universe2.agents.checkpoint import read_checkpoint, write_atomically, write_checkpoint
from universe2.agents.checkpoint_policy import load
from universe2.agents.learner import Learner, NonFiniteLoss, OptimParams
from universe2.agents.losses import PPOLoss, reconstruction
from universe2.agents.model import ModelConfig, Network, Observation, preset, thumbnail
from universe2.agents.sampler import SlotObservations
from universe2.agents.segments import Segment, segment_batch
from universe2.agents.text import LENGTH, TextTable, hashed_ids
from universe2.core.errors import InterfaceError, TrainingError, UsageError
from universe2.core.screen import ARROWS, KEYS, NVEC, ScreenMap, screen_action_space, screen_observation_space

SIZE = (32, 32)
CONFIG = ModelConfig("patch", 4, 16, SIZE, text_dim=8)
MASK = ScreenMap(arrows=("up", "left"), keys=("Space",)).action_mask()
T = 6


@pytest.fixture
def learner():
    learner = Learner(CONFIG, ["a", "b"], seed=3)
    yield learner
    learner.close()


def slot_observations(count, seed=0):
    rng = np.random.default_rng(seed)
    return SlotObservations(
        rng.integers(0, 256, (count, *SIZE, 3), dtype=np.uint8),
        hashed_ids("hello world")[None],
        np.zeros(count, np.int64),
        np.repeat(MASK[None], count, 0),
        np.zeros((count, 5), np.int64),
        np.zeros(count, np.float32),
        np.zeros(count, bool),
    )


def segments(learner, count=4, seed=0):
    rng = np.random.default_rng(seed)
    state = learner.initial_state(1)
    return [
        Segment(
            task=i % 2,
            mask=MASK,
            seen={
                "screen": rng.integers(0, 256, (T + 1, *SIZE, 3), dtype=np.uint8),
                "text": np.zeros(T + 1, np.int32),
                "first": rng.random(T + 1) < 0.2,
                "prev_action": np.zeros((T + 1, 5), np.int64),
                "prev_reward": np.zeros(T + 1, np.float32),
                "expert": np.full((T + 1, len(NVEC)), -1),
            },
            done={
                "action": np.stack([rng.integers(0, 2, T), *np.zeros((4, T), np.int64)], 1),
                "log_prob": np.full(T, -1.8, np.float32),
                "reward": rng.normal(size=T).astype(np.float32),
                "terminated": rng.random(T) < 0.1,
                "truncated": np.zeros(T, bool),
                "final_value": np.zeros(T, np.float32),
                "valid": rng.random(T) < 0.9,
                "version": np.zeros(T, np.int64),
            },
            state={name: value[0] for name, value in state.items()},
        )
        for i in range(count)
    ]


def batch_of(learner, seed=0):
    texts = TextTable()
    texts.rows(["hello world"])
    return segment_batch(segments(learner, seed=seed), [1.0, 2.0], texts, learner)


def weights(learner):
    return {name: value.clone() for name, value in learner.network.state_dict().items()}


def update(learner, seed):
    learner.forward_backward(batch_of(learner, seed), PPOLoss())
    return learner.optim_step(OptimParams())


def test_calls_run_in_the_order_of_submission(learner):
    futures = []
    for seed in range(3):
        futures.append(update(learner, seed))
        futures.append(learner.sample(slot_observations(2), learner.initial_state(2)))
    assert [f.result().version for f in futures[1::2]] == [1, 2, 3]
    assert futures[0].result()["optim/grad_norm"] > 0


def test_gradients_add_up_until_the_step(learner):
    batch = batch_of(learner)
    learner.forward_backward(batch, PPOLoss()).result()
    once = learner.network.core.inputs.weight.grad.clone()
    learner.scales.updates.zero_()
    learner.scales.square.zero_()
    learner.forward_backward(batch, PPOLoss()).result()
    assert torch.allclose(learner.network.core.inputs.weight.grad, 2 * once)
    learner.optim_step(OptimParams()).result()
    assert learner.network.core.inputs.weight.grad is None


def test_a_custom_loss_calls_the_network_itself(learner):
    def fn(network, batch):
        value = network(batch.obs, batch.state).value_logits.square().mean()
        return value, {"mine": value.detach() * 2}

    metrics = learner.forward_backward_custom(batch_of(learner), fn).result()
    assert metrics["mine"] == pytest.approx(2 * metrics["loss/total"])


def test_a_custom_loss_is_computed_by_all_workers(learner, monkeypatch):
    monkeypatch.setattr("universe2.agents.parts._LEAST", 1)
    several = Learner(learner.config, learner.tasks, workers=2)
    several.network.load_state_dict(learner.network.state_dict())
    threads = set()

    def fn(network, batch):
        network.value.register_forward_hook(lambda *_: threads.add(threading.get_ident()))
        value = network(batch.obs, batch.state).value_logits.square().mean()
        return value + network.policy.weight.square().sum(), {}

    for one, count in ((learner, 1), (several, 2)):
        threads.clear()
        one.forward_backward_custom(batch_of(one), fn).result()
        assert len(threads) == count
    for name in ("policy", "value"):
        alone, shared = (getattr(one.network, name).weight.grad for one in (learner, several))
        torch.testing.assert_close(shared, alone)
    several.close()


def test_what_is_told_of_each_task_is_the_mean_of_its_own_transitions(learner):
    batch = batch_of(learner)
    batch.task[:] = torch.tensor([0, 1, 1, 1])
    batch.weight[:] = torch.tensor([3.0, 1.0, 2.0, 2.0])
    batch.transitions.valid[2, 1:] = False
    x_NT = torch.arange(batch.log_prob.numel(), dtype=torch.float32).view(batch.log_prob.shape)

    def fn(network, batch):
        value = network(batch.obs, batch.state).value_logits.square().mean()
        return value, {"whole": batch.mean(x_NT), "x": batch.by_task(x_NT, 2)}

    found = learner.forward_backward_custom(batch, fn).result()
    weight_NT = batch.weight[:, None] * batch.transitions.valid
    for task, rows in {"a": slice(0, 1), "b": slice(1, 4)}.items():
        expected = (weight_NT * x_NT)[rows].sum() / weight_NT[rows].sum()
        assert found[f"x/{task}"] == pytest.approx(float(expected), rel=1e-5)
    batch.task[:] = 1  # nothing is told of a task that isn't there
    found = learner.forward_backward_custom(batch, fn).result()
    assert "x/a" not in found
    assert found["x/b"] == pytest.approx(found["whole"], rel=1e-5)


def test_a_loss_that_tells_something_of_an_odd_shape_is_refused(learner):
    def fn(network, batch):
        return network(batch.obs, batch.state).value_logits.mean(), {"odd": torch.zeros(3)}

    with pytest.raises(UsageError, match=r"tells odd in the shape \(3,\)"):
        learner.forward_backward_custom(batch_of(learner), fn).result()


def told_by_a_loss(learner, value):
    def fn(network, batch):
        return network(batch.obs, batch.state).value_logits.mean(), {"mine": value}

    return learner.forward_backward_custom(batch_of(learner), fn).result()


def test_a_loss_may_tell_plain_numbers(learner):
    for value in (2.5, 2, np.float64(2.5), torch.tensor(2.5, requires_grad=True)):
        assert told_by_a_loss(learner, value)["mine"] == value
    assert {"mine/a", "mine/b"} <= told_by_a_loss(learner, [1.0, 2.0]).keys()


@pytest.mark.parametrize("value", ["high", None, {"a": 1.0}])
def test_a_loss_that_tells_what_is_no_number_is_refused(learner, value):
    with pytest.raises(UsageError, match=r"the loss tells mine = .*; it must be a number, or \(2,\)"):
        told_by_a_loss(learner, value)


@pytest.mark.parametrize(
    ("returned", "told"),
    [
        (lambda x: x.mean(), r"returns \(loss, metrics\), metrics by name.*got tensor"),
        (lambda x: (x.mean((0, 1)), {}), r"must be a scalar tensor.*got the shape \(127,\)"),
        (lambda x: (0.5, {}), r"must be a scalar tensor.*got 0\.5"),
        (lambda x: (x.mean().detach(), {}), "must be a scalar tensor.*got a constant"),
        (lambda x: (x.mean(), {"loss/total": 1.0}), 'a metric "loss/total".*choose another name'),
    ],
)
def test_a_loss_function_that_returns_something_else_is_refused(learner, returned, told):
    def fn(network, batch):
        return returned(network(batch.obs, batch.state).value_logits)

    with pytest.raises(UsageError, match=told):
        learner.forward_backward_custom(batch_of(learner), fn).result()


def test_a_step_behind_a_failed_gradient_fails_as_that_did(learner):
    def fails(network, batch):
        raise ZeroDivisionError("mine")

    before = weights(learner)
    learner.forward_backward(batch_of(learner), PPOLoss())
    learner.forward_backward_custom(batch_of(learner), fails)
    with pytest.raises(ZeroDivisionError, match="mine"):
        learner.optim_step(OptimParams()).result()
    assert all(torch.equal(value, before[name]) for name, value in weights(learner).items())
    assert learner.network.core.inputs.weight.grad is None, "half of a gradient is none"
    update(learner, 0).result()
    assert learner.version == 1


def test_a_step_without_a_gradient_is_refused(learner, tmp_path):
    update(learner, 0).result()
    with pytest.raises(UsageError, match="no forward_backward since the last optim_step"):
        learner.optim_step(OptimParams()).result()
    path = learner.save_state(tmp_path / "checkpoint").result()
    learner.forward_backward(batch_of(learner), PPOLoss())
    learner.load_state(path)  # and what was gathered is forgotten
    with pytest.raises(UsageError, match="no forward_backward since the last optim_step"):
        learner.optim_step(OptimParams()).result()
    assert learner.version == 1


def test_one_name_is_no_list_of_tasks():
    with pytest.raises(
        UsageError, match=r"tasks = 'a/B-v0' is one name, and a list is expected: \['a/B-v0'\]"
    ):
        Learner(CONFIG, "a/B-v0")


def test_resume_is_exact_to_the_bit(learner, tmp_path):
    for seed in range(3):
        update(learner, seed).result()
    learner.counts = {"steps": 12.5}
    learner.save_state(tmp_path / "checkpoint", {"note": "hi"}).result()
    other = Learner(CONFIG, ["a", "b"], seed=99)
    try:
        assert other.load_state(tmp_path / "checkpoint").result().extra == {"note": "hi"}
        assert other.version == 3
        assert other.counts == {"steps": 12.5}
        for seed in range(3, 6):
            update(learner, seed).result()
            update(other, seed).result()
        for name, value in weights(learner).items():
            assert torch.equal(value, weights(other)[name]), name
        assert torch.equal(learner.scales.square, other.scales.square)
        samples = [
            one.sample(slot_observations(8), one.initial_state(8)).result() for one in (learner, other)
        ]
        assert (samples[0].action == samples[1].action).all()
        assert (samples[0].log_prob == samples[1].log_prob).all()
    finally:
        other.close()


def test_random_numbers_of_another_kind_of_device_begin_anew(learner, tmp_path, caplog):
    learner.save_state(tmp_path / "checkpoint").result()
    tensors, meta = read_checkpoint(tmp_path / "checkpoint")
    on_cuda = tensors | {"rng.sample": torch.zeros(16, dtype=torch.uint8)}
    write_checkpoint(tmp_path / "cuda", on_cuda, meta)
    before = learner.generator.get_state()
    learner.load_state(tmp_path / "cuda").result()
    assert torch.equal(learner.generator.get_state(), before)
    assert "written on another kind of device than cpu" in caplog.text


def test_a_checkpoint_of_another_size_or_version_is_refused(learner, tmp_path):
    path = tmp_path / "checkpoint"
    learner.save_state(path).result()
    other = Learner(dataclasses.replace(CONFIG, hidden=32), ["a"])
    with pytest.raises(TrainingError, match="other sizes"):
        other.load_state(path).result()
    other.close()
    with pytest.raises(TrainingError, match="no checkpoint at"):
        learner.load_state(tmp_path / "nothing").result()
    (tmp_path / "garbage").write_bytes(b"x" * 100)
    with pytest.raises(TrainingError, match="not a readable checkpoint"):
        read_checkpoint(tmp_path / "garbage")
    assert [p.name for p in tmp_path.iterdir() if ".tmp" in p.name] == []


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path):
    path = tmp_path / "checkpoint"
    write_checkpoint(path, {"x": torch.ones(3)}, {"good": True})
    with pytest.raises(TrainingError, match="a number in it is not finite"):
        write_checkpoint(path, {"x": torch.zeros(3)}, {"bad": float("nan")})
    tensors, meta = read_checkpoint(path)
    assert tensors["x"].tolist() == [1, 1, 1]
    assert meta["good"] is True


def test_what_a_killed_write_left_is_written_over(tmp_path):
    path = tmp_path / "checkpoint"
    if os.fork() == 0:
        os.fsync = lambda descriptor: os._exit(0)
        write_atomically(path, b"half")
    os.wait()
    assert len(list(tmp_path.iterdir())) == 1
    write_atomically(path, b"whole")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("checkpoint", b"whole")]


def test_a_folder_in_a_files_place_is_no_good_one(tmp_path):
    path = tmp_path / "checkpoint"
    path.mkdir()
    with pytest.raises(TrainingError, match=r"cannot write .*: Is a directory$"):
        write_atomically(path, b"x")


def test_a_loss_that_is_not_finite_stops_and_keeps_its_batch(learner, tmp_path):
    batch = batch_of(learner)
    reward = batch.transitions.reward.clone()
    reward[:] = torch.nan
    before = weights(learner)
    bad = dataclasses.replace(batch, transitions=batch.transitions._replace(reward=reward))
    failed = learner.forward_backward(bad, PPOLoss())
    step = learner.optim_step(OptimParams())
    with pytest.raises(NonFiniteLoss, match="the loss is nan after 0 optimiser steps") as caught:
        failed.result()
    with pytest.raises(NonFiniteLoss):
        step.result()
    assert all(torch.equal(value, before[name]) for name, value in weights(learner).items())
    caught.value.save_batch(tmp_path / "bad.safetensors")
    tensors, _ = read_checkpoint(tmp_path / "bad.safetensors")
    assert tensors["transitions.reward"].isnan().all()
    assert tensors["obs.screen"].dtype == torch.uint8


def test_dead_choices_are_never_drawn(learner):
    sample = learner.sample(slot_observations(300), learner.initial_state(300)).result()
    starts = np.cumsum([0, *NVEC[:-1]])
    assert MASK[sample.action + starts].all()
    assert len(np.unique(sample.action[:, 0])) == 3


@pytest.mark.parametrize("encoder", ["patch", "impala"])
def test_a_sequence_is_its_steps(encoder):
    """All times at once = one by one with the state carried, also across an episode's start."""
    network = Network(ModelConfig(encoder, 4, 16, SIZE))
    generator = torch.Generator().manual_seed(0)
    obs = Observation(
        torch.randint(0, 256, (2, 5, *SIZE, 3), generator=generator, dtype=torch.uint8),
        torch.from_numpy(hashed_ids("some text"))[None],
        torch.zeros(2, 5, dtype=torch.int64),
        torch.from_numpy(MASK).expand(2, -1),
        torch.zeros(2, 5, 5, dtype=torch.int64),
        torch.rand(2, 5, generator=generator),
        torch.tensor([[0, 0, 1, 0, 0], [1, 0, 0, 0, 1]]).bool(),
        torch.tensor([1]),
    )
    for parameter in network.parameters():
        parameter.data = parameter.data + 0.05 * torch.randn(parameter.shape, generator=generator)
    whole = network(obs, network.initial_state(2))
    state = network.initial_state(2)
    for t in range(5):
        now = [value[:, t : t + 1] for value in (obs.screen, obs.text_index)]
        past = [value[:, t : t + 1] for value in (obs.prev_action, obs.prev_reward, obs.first)]
        one = network(Observation(now[0], obs.texts, now[1], obs.mask, *past, obs.points), state)
        state = one.state
        assert torch.allclose(one.value_logits[:, 0], whole.value_logits[:, t], atol=1e-5)
    assert torch.allclose(state["hidden"], whole.state["hidden"], atol=1e-5)
    # what came before an episode's start changes nothing after it
    other = obs._replace(screen=obs.screen.clone())
    other.screen[0, :2] = 0
    again = network(other, network.initial_state(2))
    assert torch.equal(again.value_logits[0, 2:], whole.value_logits[0, 2:])
    assert not torch.equal(again.value_logits[0, 0], whole.value_logits[0, 0])


def test_texts_differ_and_the_table_is_bounded():
    assert (hashed_ids("click ok") != hashed_ids("click no")).any()
    assert hashed_ids("").sum() == 0
    assert hashed_ids("x" * 5000).shape == (LENGTH,)
    table = TextTable(capacity=4)
    rows = [int(table.rows([f"text {i}"])[0]) for i in range(6)]
    assert rows == [0, 1, 2, 3, 0, 1]
    assert (table.ids(np.array([1]))[0] == hashed_ids("text 5")).all()
    assert table.rows(["text 1"])[0] == 2


def test_a_text_in_use_keeps_its_row():
    table = TextTable(capacity=4)
    game = table.rows(["a game's only text"])
    for i in range(20):
        table.rows([f"a page's text {i}"])
        assert table.rows(["a game's only text"]) == game
    assert (table.ids(game)[0] == hashed_ids("a game's only text")).all()
    assert len(table.texts) == 4


def test_unknown_presets_and_odd_screens_are_refused():
    with pytest.raises(UsageError, match="no preset 'huge'; there are nano, micro, small"):
        preset("huge")
    with pytest.raises(UsageError, match="multiples of 4"):
        Network(preset("nano", (50, 50)))


def test_a_checkpoint_plays_the_same_from_the_same_seed(learner, tmp_path):
    learner.save_state(tmp_path / "myrun" / "checkpoint").result()
    spaces = screen_observation_space(SIZE), screen_action_space()

    def play(seed, slots, temperature=1.0):
        policy = load(str(tmp_path / "myrun"), temperature)
        assert policy.name == "myrun"
        assert policy.screen_size == SIZE
        policy.begin("a/B-v0", 4, *spaces, MASK, seed)
        actions = []
        for step in range(20):
            obs = slot_observations(4, seed=step)
            seen = {"screen": obs.screen[slots], "instruction": ("go",) * len(slots)}
            first = np.full(len(slots), step == 0)
            actions.append(policy.act(np.array(slots), seen, np.zeros(len(slots)), first))
        return np.stack(actions, 1)

    together = play(5, [0, 1, 2, 3])
    assert (together == play(5, [0, 1, 2, 3])).all()
    assert (together[2] == play(5, [2])[0]).all()  # alone = beside others
    assert (together != play(6, [0, 1, 2, 3])).any()
    assert (play(5, [0, 1], temperature=0) == play(6, [0, 1], temperature=0)).all()  # the likeliest
    policy = load(str(tmp_path / "myrun"))
    with pytest.raises(InterfaceError, match=r'action_mask is None.* under interface="screen" only'):
        policy.begin("a/B-v0", 1, *spaces, None, 0)


def test_a_snapshot_acts_with_the_weights_of_its_last_refresh(learner):
    sampler = learner.snapshot().result()
    obs, state = slot_observations(4), learner.initial_state(4)
    before = sampler.values(obs, state).result()
    assert (before == learner.values(obs, state).result()).all()
    for seed in range(3):
        update(learner, seed).result()
    assert (sampler.values(obs, state).result() == before).all()
    assert sampler.sample(obs, state).result().version == 0
    learner.refresh(sampler).result()
    assert (sampler.values(obs, state).result() == learner.values(obs, state).result()).all()
    assert (sampler.values(obs, state).result() != before).any()
    assert sampler.sample(obs, state).result().version == 3
    sampler.close()


def test_values_draw_no_random_numbers(learner):
    obs, state = slot_observations(4), learner.initial_state(4)
    before = learner.generator.get_state()
    learner.values(obs, state).result()
    assert torch.equal(learner.generator.get_state(), before)


def test_the_network_paints_the_screen_if_asked_to():
    learner = Learner(dataclasses.replace(CONFIG, reconstruct=True), ["a", "b"], seed=3)
    batch, loss = batch_of(learner), PPOLoss(reconstruction_coef=1.0, value_coef=0.0, entropy_coef=0.0)
    with torch.no_grad():
        output = learner.network(batch.obs, batch.state)
        first = reconstruction(output, batch).mean()
    target = batch.obs.screen[0, 0, :4, 4:8, 1].float().mean() / 255
    assert thumbnail(batch.obs.screen)[0, 0, 0, 1, 1] == pytest.approx(float(target))
    for _ in range(30):
        learner.forward_backward(batch, loss)
        learner.optim_step(OptimParams(lr=1e-2)).result()
    with torch.no_grad():
        last = reconstruction(learner.network(batch.obs, batch.state), batch).mean()
    assert last < 0.5 * first
    learner.close()
    with pytest.raises(UsageError, match="reconstruct = True"):
        reconstruction(output._replace(picture=None), batch)


@pytest.mark.parametrize("encoder", ["patch", "impala"])
def test_bfloat16_is_close(encoder):
    network = Network(dataclasses.replace(CONFIG, encoder=encoder))
    obs = batch_of(Learner(CONFIG, ["a", "b"])).obs
    exact = network(obs, network.initial_state(4))
    network.bf16 = True
    rough = network(obs, network.initial_state(4))
    assert rough.value_logits.dtype == torch.float32
    assert rough.state["hidden"].dtype == torch.float32
    error = (rough.state["hidden"] - exact.state["hidden"]).abs().mean()
    assert 0 < error < 0.1 * exact.state["hidden"].abs().mean()


def test_adapters_change_nothing_at_first_and_are_all_that_is_trained(learner, tmp_path):
    learner.save_state(tmp_path / "full").result()
    tuned = Learner(dataclasses.replace(CONFIG, lora_rank=2), ["a", "b"], seed=9)
    tuned.load_weights(tmp_path / "full").result()
    obs, state = slot_observations(4), learner.initial_state(4)
    assert tuned.values(obs, state).result() == pytest.approx(learner.values(obs, state).result(), abs=1e-5)
    before = weights(tuned)
    for seed in range(2):
        update(tuned, seed).result()
    moved = {name for name, value in weights(tuned).items() if not torch.equal(value, before[name])}
    assert {name.partition(".")[0] for name in moved} == {"encoder", "mix", "core", "policy", "value"}
    trunk = [name for name in moved if name.partition(".")[0] in ("encoder", "mix", "core")]
    assert all(name.endswith((".a", ".b")) for name in trunk)
    tuned.save_state(tmp_path / "tuned").result()
    with pytest.raises(TrainingError, match="holds adapters"):
        tuned.load_weights(tmp_path / "tuned").result()
    tuned.close()


def test_what_paints_stays_behind_where_nothing_is_painted(tmp_path):
    painter = Learner(dataclasses.replace(CONFIG, reconstruct=True), ["a"])
    painter.save_state(tmp_path / "painter").result()
    for rank in (0, 2):
        plain = Learner(dataclasses.replace(CONFIG, lora_rank=rank), ["a"], seed=9)
        plain.load_weights(tmp_path / "painter").result()
        assert torch.equal(weights(plain)["value.weight"], weights(painter)["value.weight"])
        plain.close()
    painter.close()


def test_heads_begin_anew_but_for_where_a_click_goes(learner, tmp_path):
    for seed in range(2):
        update(learner, seed).result()
    learner.save_state(tmp_path / "full").result()
    tuned = Learner(CONFIG, ["a", "b"], seed=9)
    fresh, trained = weights(tuned), weights(learner)
    tuned.load_weights(tmp_path / "full", anew=["keys", "value"]).result()
    now = weights(tuned)
    keys = len(ARROWS) + len(KEYS)
    for kind in ("weight", "bias"):
        value, policy = f"value.{kind}", f"policy.{kind}"
        assert torch.equal(now.pop(value), fresh[value])
        assert torch.equal(now[policy][:keys], fresh[policy][:keys])
        assert torch.equal(now.pop(policy)[keys:], trained[policy][keys:])
        assert not torch.equal(trained[value], fresh[value])
    assert not torch.equal(trained["policy.weight"][:keys], fresh["policy.weight"][:keys])
    assert all(torch.equal(now[name], trained[name]) for name in now)
    tuned.close()


def test_an_older_checkpoint_is_refused_with_a_clear_line(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "VERSION", 1)
    write_checkpoint(tmp_path / "old", {"x": torch.ones(1)}, {})
    monkeypatch.undo()
    with pytest.raises(
        TrainingError, match=r"old is a checkpoint of version 1, this universe2 reads version 4"
    ):
        read_checkpoint(tmp_path / "old")
