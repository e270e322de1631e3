"""Training steps a second on this machine's CPU, against CleanRL's and Stable-Baselines3's PPO.

    python benchmarks/train.py [--rounds 3] [--updates 6] [--env arcade/Breakout-v0]

All train on the same 64 local slots, 64×64×3 frames, with 8,192 steps an update (128 of each
slot), 4 minibatches and 4 epochs. CleanRL is the main block of a script of 1.2.0 as its wheel
ships it, given our vector environment and a network in place of Atari's:

    cleanrl        ppo_atari_lstm.py with our network, all of it: the same arithmetic a step
    cleanrl_small  ppo_atari.py with a network of our encoder's size (4×4 patches, a strided
                   convolution, 128 features) and two linear heads: none of our recurrent core,
                   attention, motion, instruction and distributional value
    sb3            Stable-Baselines3 2.9.2's PPO with our network, all of it; that PPO has no
                   memory, so every frame is a sequence of its own: the same arithmetic a step
    sb3_small      the same with that small network

The peers play through the native interface, ours through the screen interface. They are installed
into .cache/peers (benchmarks/train_peers.py). Rounds alternate; the median of the rounds' ratios
counts. The last line is the result as JSON, also written to scores/train.json.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import re
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

from train_peers import (
    BATCH,
    CACHE,
    CLEANRL_VERSION,
    EPOCHS,
    MINIBATCHES,
    SB3_VERSION,
    SCRIPTS,
    SLOTS,
    install,
    run_cleanrl,
    run_sb3,
)

HERE = Path(__file__).resolve().parent
TARGETS = {"cleanrl": 2.0, "cleanrl_small": None, "sb3": 1.5, "sb3_small": None}


def ours(env_id: str, updates: int) -> float:
    """Training steps per second, the compiler's time left out."""
    from universe2.agents.collect import Collector, CollectParams
    from universe2.agents.config import TaskConfig, TrainConfig
    from universe2.agents.learner import Learner
    from universe2.agents.model import preset
    from universe2.agents.ppo import train_ppo
    from universe2.agents.threads import use_workers
    from universe2.faces.make import make_pool

    config = TrainConfig(
        tasks=(TaskConfig(env_id=env_id, slots=SLOTS),),
        out_dir="",
        rollout=BATCH // SLOTS,
        batch_steps=BATCH,
        minibatches=MINIBATCHES,
        epochs=EPOCHS,
    )
    learner = Learner(preset(config.preset), [env_id], workers=use_workers(config.threads))
    with make_pool({env_id: SLOTS}) as pool:
        sampler = learner.snapshot().result()
        collector = Collector(pool, learner, CollectParams(config.rollout, config.quota()), sampler)
        collector.start(0)
        collector.pump(120.0)  # compiled when the first observations are there
        begin = time.perf_counter()
        done = 0

        def after_update(metrics: dict[str, float]) -> None:
            nonlocal done
            done += 1

        train_ppo(learner, collector, config, lambda: done / updates, after_update)
        # what was learned from, as the peers count; more than that was played
        rate = BATCH * done / (time.perf_counter() - begin)
        print({name: round(share, 3) for name, share in learner.watch.shares().items()}, file=sys.stderr)
    sampler.close()
    learner.close()
    return rate


def measure(side: str, env_id: str, updates: int) -> float:
    """One side in a process of its own."""
    command = [sys.executable, "-W", "ignore", __file__, "--side", side, "--env", env_id]
    command += ["--updates", str(updates)]
    folder = CACHE / "cleanrl-runs"
    folder.mkdir(parents=True, exist_ok=True)
    out = subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder, timeout=900).stdout
    return float(re.findall(r"SPS: ([\d.]+)", out)[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--updates", type=int, default=6)
    parser.add_argument("--env", default="arcade/Breakout-v0")
    parser.add_argument("--side", choices=("ours", *TARGETS), help="used by the script itself")
    args = parser.parse_args()
    if args.side == "ours":
        print("SPS:", ours(args.env, args.updates))
        return
    if args.side in SCRIPTS:
        run_cleanrl(args.side, args.env, args.updates)
        return
    if args.side is not None:
        print("SPS:", run_sb3(args.side, args.env, args.updates))
        return
    install()
    rates: dict[str, list[float]] = defaultdict(list)
    for _ in range(args.rounds):
        for side in ("ours", *TARGETS):
            rates[side].append(measure(side, args.env, args.updates))
            print(f"{side}: {rates[side][-1]:,.0f} steps/s", flush=True)
    report(args.env, rates)


def report(env_id: str, rates: dict[str, list[float]]) -> None:
    """The table, and the JSON line."""
    import torch
    from rich.console import Console
    from rich.table import Table

    from universe2.agents.evaluate import hardware

    names = {
        "ours": "universe2 PPO",
        "cleanrl": f"CleanRL {CLEANRL_VERSION} ppo_atari_lstm with our network",
        "cleanrl_small": f"CleanRL {CLEANRL_VERSION} ppo_atari with a smaller network",
        "sb3": f"Stable-Baselines3 {SB3_VERSION} PPO with our network",
        "sb3_small": f"Stable-Baselines3 {SB3_VERSION} PPO with a smaller network",
    }
    medians = {side: statistics.median(found) for side, found in rates.items()}
    table = Table(title=f"training steps/s on {env_id}, {SLOTS} slots, nano network")
    for column in ("", "median", "rounds"):
        table.add_column(column)
    questions = []
    for side, name in names.items():
        table.add_row(name, f"{medians[side]:,.0f}", "  ".join(f"{rate:,.0f}" for rate in rates[side]))
        if side in TARGETS:
            ratio = statistics.median(a / b for a, b in zip(rates["ours"], rates[side], strict=True))
            target = TARGETS[side]
            questions.append(
                {
                    "question": f"Training steps/s on the CPU, 64 slots of {env_id}, against {name}",
                    "ours": f"{medians['ours']:,.0f}",
                    "peer": f"{medians[side]:,.0f}",
                    "ratio": round(ratio, 3),
                    "target": "–" if target is None else target,
                    "met": None if target is None else ratio >= target,
                }
            )
    Console().print(table)
    score = {
        "name": "train",
        "date": datetime.date.today().isoformat(),
        "machine": hardware(),
        "versions": {
            "torch": torch.__version__,
            "cleanrl": CLEANRL_VERSION,
            "stable-baselines3": SB3_VERSION,
            "python": platform.python_version(),
        },
        "results": {side: [round(rate, 1) for rate in found] for side, found in rates.items()},
        "questions": questions,
    }
    line = json.dumps(score)
    (HERE / "scores").mkdir(exist_ok=True)
    (HERE / "scores" / "train.json").write_text(line + "\n")
    print(line)


if __name__ == "__main__":
    main()
