"""Imitation of experts: who says what, how it is weighed, and that "nobody says" costs nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from universe2.agents.losses import imitation, masked_log_probs
from universe2.core.errors import UsageError
from universe2.core.screen import NVEC
from universe2.core.spec import EnvConfig
from universe2.runtimes import open_runtime
from universe2.runtimes.compiled import CompiledRuntime


def test_imitation_is_cross_entropy_with_what_was_said() -> None:
    logits = torch.zeros(2, sum(NVEC))
    logits[:, 0] = float(np.log(8.0))  # arrows: 8 : 1 : 1 : … for "none"
    parts = masked_log_probs(logits)
    expert = torch.tensor([[0, 0, 0, 0, 0], [-1, -1, -1, -1, -1]])
    rest = sum(np.log(n) for n in NVEC[1:])
    found = imitation(parts, expert)
    assert found.tolist() == pytest.approx([-np.log(8 / 16) + rest, 0.0], rel=1e-5)


def test_nobody_said_gives_no_gradient() -> None:
    logits = torch.zeros(1, sum(NVEC), requires_grad=True)
    imitation(masked_log_probs(logits), torch.full((1, 5), -1)).sum().backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize("autoreset", ["same_step", "next_step"])
def test_info_says_what_the_heuristic_would_do_on_what_is_seen_now(autoreset: str) -> None:
    options = {"expert": 1, "max_steps": 6}
    config = EnvConfig(interface="screen", autoreset=autoreset, options=options)  # type: ignore[arg-type]
    runtime = open_runtime("arcade/Runner-v0", 3, config)
    assert isinstance(runtime, CompiledRuntime)
    slots = np.arange(3)
    runtime.reset(slots, slots)
    for _ in range(15):
        batch = runtime.recv()
        said, there = batch.info["expert"]
        assert there.all()
        assert (said == runtime.heuristic(slots)).all()
        runtime.send(slots, said)
    runtime.close()


def test_the_option_is_checked_and_changes_no_trajectory() -> None:
    with pytest.raises(UsageError, match=r"expert must lie in 0\.\.1"):
        open_runtime("arcade/Runner-v0", 1, EnvConfig(options={"expert": 2}))
    frames = []
    for expert in (0, 1):
        runtime = open_runtime("arcade/Runner-v0", 1, EnvConfig(options={"expert": expert}))
        runtime.reset([0], [3])
        for _ in range(5):
            runtime.recv()
            runtime.send([0], [1])
        frames.append(runtime.recv().obs.tobytes())
        runtime.close()
    assert frames[0] == frames[1]
