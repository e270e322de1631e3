"""Training steps a second on this machine's CPU, against CleanRL's and Stable-Baselines3's PPO.

    python benchmarks/train.py [--rounds 3] [--updates 6] [--env arcade/Breakout-v0]

All train on the same 64 local slots, 64×64×3 frames, with 8,192 steps an update (128 of each
slot), 4 minibatches and 4 epochs. CleanRL is the main block of a script of 1.2.0 as its wheel
ships it, given our vector environment and a network in place of Atari's:

    cleanrl        ppo_atari_lstm.py with our network, all of it: the same arithmetic a step
    cleanrl_small  ppo_atari.py with a network of our encoder's size (4×4 patches, a strided
                   convolution, 128 features) and two linear heads: none of our recurrent core,
                   attention, motion, instruction and distributional value
    sb3            Stable-Baselines3 2.9.2's PPO with that small network

The peers play through the native interface, ours through the screen interface. They are installed
into .cache/peers. Rounds alternate; the median of the rounds' ratios counts. The last line is the
result as JSON, also written to scores/train.json.
"""

from __future__ import annotations

import argparse
import ast
import datetime
import json
import platform
import re
import statistics
import subprocess
import sys
import time
import types
from collections import defaultdict
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PEER = HERE.parent / ".cache" / "peers" / "cleanrl"
PEER_VERSION = "1.2.0"
SB3 = HERE.parent / ".cache" / "peers" / "sb3"
SB3_VERSION = "2.9.2"
SLOTS, BATCH, MINIBATCHES, EPOCHS = 64, 8192, 4, 4
TARGETS = {"cleanrl": 2.0, "cleanrl_small": None, "sb3": 1.5}
SCRIPTS = {"cleanrl": "ppo_atari_lstm.py", "cleanrl_small": "ppo_atari.py"}


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


def theirs(side: str, env_id: str, updates: int) -> None:
    """Runs the peer's main block in this process; it prints its own steps per second (SPS)."""
    import torch  # noqa: F401  # before our package, which sets how its threads wait

    sys.path.append(str(PEER))
    for name, module in _stand_ins(env_id).items():
        sys.modules[name] = module
    path = PEER / "cleanrl" / SCRIPTS[side]
    tree = ast.parse(path.read_text())
    main = next(node for node in tree.body if isinstance(node, ast.If))
    definitions = [node for node in tree.body if node is not main]
    names: dict[str, Any] = {"__name__": "peer", "__file__": str(path)}
    exec(compile(ast.Module(definitions, []), str(path), "exec"), names)
    agents = {"cleanrl": _our_agent, "cleanrl_small": _small_agent}
    names["Agent"] = agents[side](names["layer_init"])
    names["make_env"] = lambda *args: None
    sys.argv = [str(path), f"--num-envs={SLOTS}", f"--num-steps={BATCH // SLOTS}", "--cuda=False"]
    sys.argv += [f"--num-minibatches={MINIBATCHES}", f"--update-epochs={EPOCHS}"]
    sys.argv += [f"--total-timesteps={BATCH * updates}"]
    exec(compile(ast.Module(main.body, []), str(path), "exec"), names)


def _stand_ins(env_id: str) -> dict[str, types.ModuleType]:
    """Old Gym with our vector as its SyncVectorEnv; names that the script imports and doesn't use."""
    import gymnasium

    from universe2.faces.make import make_vec

    class OldVector:
        def __init__(self, makers: list[Any]) -> None:
            self._envs = make_vec(env_id, len(makers), autoreset="same_step", copy=False)
            self.single_observation_space = self._envs.single_observation_space
            self.single_action_space = self._envs.single_action_space
            self._envs.reset(seed=0)

        def reset(self) -> Any:
            return self._envs.reset(seed=0)[0]

        def step(self, actions: Any) -> tuple[Any, Any, Any, tuple[()]]:
            obs, reward, terminated, truncated, _ = self._envs.step(actions)
            return obs, reward, terminated | truncated, ()

        def close(self) -> None:
            self._envs.close()

    gym: Any = types.ModuleType("gym")
    gym.spaces = gymnasium.spaces
    gym.vector = types.SimpleNamespace(SyncVectorEnv=OldVector)
    wrappers: Any = types.ModuleType("stable_baselines3.common.atari_wrappers")
    wrappers.__getattr__ = lambda name: None
    names = ("stable_baselines3", "stable_baselines3.common")
    return {"gym": gym, wrappers.__name__: wrappers} | {name: types.ModuleType(name) for name in names}


def _small_agent(layer_init: Any) -> type:
    """The encoder of our preset ``nano`` with the peer's own kind of heads."""
    import torch
    from torch import nn
    from torch.distributions.categorical import Categorical

    class Agent(nn.Module):
        def __init__(self, envs: Any) -> None:
            super().__init__()
            self.network = nn.Sequential(
                layer_init(nn.Conv2d(3, 16, 4, 4)),
                nn.ReLU(),
                layer_init(nn.Conv2d(16, 32, 4, 2)),
                nn.ReLU(),
                nn.Flatten(),
                layer_init(nn.Linear(32 * 7 * 7, 128)),
                nn.ReLU(),
            )
            self.actor = layer_init(nn.Linear(128, int(envs.single_action_space.n)), std=0.01)
            self.critic = layer_init(nn.Linear(128, 1), std=1)

        def _features(self, x: torch.Tensor) -> torch.Tensor:
            features: torch.Tensor = self.network(x.permute(0, 3, 1, 2) / 255.0)
            return features

        def get_value(self, x: torch.Tensor) -> Any:
            return self.critic(self._features(x))

        def get_action_and_value(self, x: torch.Tensor, action: Any = None) -> Any:
            hidden = self._features(x)
            probs = Categorical(logits=self.actor(hidden))
            action = probs.sample() if action is None else action
            return action, probs.log_prob(action), probs.entropy(), self.critic(hidden)

    return Agent


def _our_agent(layer_init: Any) -> type:
    """Our preset ``nano`` behind the methods of the recurrent peer's agent."""
    import torch
    from torch import nn
    from torch.distributions.categorical import Categorical

    from universe2.agents.model import CHOICES, Network, Observation, preset
    from universe2.agents.returns import decode_value
    from universe2.agents.text import TextTable
    from universe2.core.screen import NVEC

    class Agent(nn.Module):
        def __init__(self, envs: Any) -> None:
            super().__init__()
            self.network = Network(preset("nano"))
            self.choices = int(envs.single_action_space.n)
            table = TextTable()
            texts = table.ids(table.rows(["Break all the bricks."]))
            self.register_buffer("texts", torch.from_numpy(texts))
            self.lstm = types.SimpleNamespace(num_layers=1, hidden_size=self.network.config.hidden)

        def _run(self, x_BHW3: Any, state: Any, done_B: Any) -> tuple[Any, Any, Any]:
            """The peer's rows are times of all slots, one after another; its state is a pair."""
            hidden_ND, before = state[0][0], state[1][0]
            count = len(hidden_ND)
            if before.ndim == 2:  # the peer's own zeros, at the start
                before = self.network.initial_state(count)["brightness"]

            def slots_first(rows: Any) -> Any:
                return rows.view(-1, count, *rows.shape[1:]).transpose(0, 1).contiguous()

            first_NT = slots_first(done_B.bool())
            times = first_NT.shape[1]
            obs = Observation(
                slots_first(x_BHW3.to(torch.uint8)),
                self.texts,
                torch.zeros(count, times, dtype=torch.int64),
                torch.ones(count, CHOICES, dtype=torch.bool),
                torch.zeros(count, times, len(NVEC), dtype=torch.int64),
                torch.zeros(count, times),
                first_NT,
                torch.zeros(0, dtype=torch.int64),  # no pointer in this game
            )
            out = self.network(obs, {"hidden": hidden_ND, "brightness": before})
            logits = out.logits[..., : self.choices].transpose(0, 1).flatten(0, 1)
            value = decode_value(out.value_logits, self.network.config.value_limit)
            after = (out.state["hidden"][None], out.state["brightness"][None])
            return logits, value.transpose(0, 1).reshape(-1, 1), after

        def get_value(self, x: Any, lstm_state: Any, done: Any) -> Any:
            return self._run(x, lstm_state, done)[1]

        def get_action_and_value(self, x: Any, lstm_state: Any, done: Any, action: Any = None) -> Any:
            logits, value, after = self._run(x, lstm_state, done)
            probs = Categorical(logits=logits)
            action = probs.sample() if action is None else action
            return action, probs.log_prob(action), probs.entropy(), value, after

    return Agent


def theirs_sb3(env_id: str, updates: int) -> float:
    """Training steps per second of Stable-Baselines3's PPO, measured after its first rollout began."""
    sys.path.append(str(SB3))
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
    from stable_baselines3.common.vec_env import VecEnv

    from universe2.faces.make import make_vec

    class Vector(VecEnv):
        def __init__(self) -> None:
            self.envs = make_vec(env_id, SLOTS, autoreset="same_step", copy=False)
            super().__init__(SLOTS, self.envs.single_observation_space, self.envs.single_action_space)

        def reset(self) -> Any:
            return self.envs.reset(seed=0)[0]

        def step_async(self, actions: Any) -> None:
            self.actions = actions

        def step_wait(self) -> Any:
            obs, rewards, terminated, truncated, _ = self.envs.step(self.actions)
            return obs, rewards.astype("float32"), terminated | truncated, [{} for _ in range(SLOTS)]

        def close(self) -> None:
            self.envs.close()

        def get_attr(self, attr_name: str, indices: Any = None) -> Any:
            return [None] * SLOTS

        def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
            raise NotImplementedError

        def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> Any:
            raise NotImplementedError

        def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> Any:
            return [False] * SLOTS

    class Encoder(BaseFeaturesExtractor):
        def __init__(self, space: Any) -> None:
            super().__init__(space, 128)
            agent = _small_agent(lambda layer, std=1.0: layer)
            envs = types.SimpleNamespace(single_action_space=types.SimpleNamespace(n=1))
            self.network = agent(envs).network

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            features: torch.Tensor = self.network(x)  # the images are channels first and in [0, 1] here
            return features

    vector = Vector()
    policy = {"features_extractor_class": Encoder, "net_arch": []}
    sizes = {"n_steps": BATCH // SLOTS, "batch_size": BATCH // MINIBATCHES, "n_epochs": EPOCHS}
    model = PPO("CnnPolicy", vector, policy_kwargs=policy, device="cpu", **sizes)
    vector.reset()
    begin = time.perf_counter()
    model.learn(BATCH * updates)
    rate = BATCH * updates / (time.perf_counter() - begin)
    vector.close()
    return rate


def install_peers() -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
    if not (PEER / "cleanrl" / "ppo_atari.py").exists():
        PEER.mkdir(parents=True, exist_ok=True)
        # The wheel says Python < 3.11 for the sake of old Gym, which is not used here.
        subprocess.run([*pip, str(PEER), "--ignore-requires-python", f"cleanrl=={PEER_VERSION}"], check=True)
    if not (SB3 / "stable_baselines3").exists():
        SB3.mkdir(parents=True, exist_ok=True)
        needs = ["pandas", "python-dateutil", "pytz", "six", "tzdata"]
        subprocess.run([*pip, str(SB3), f"stable-baselines3=={SB3_VERSION}", *needs], check=True)


def measure(side: str, env_id: str, updates: int) -> float:
    """One side in a process of its own."""
    command = [sys.executable, "-W", "ignore", __file__, "--side", side, "--env", env_id]
    command += ["--updates", str(updates)]
    folder = HERE.parent / ".cache" / "peers" / "cleanrl-runs"
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
        theirs(args.side, args.env, args.updates)
        return
    if args.side == "sb3":
        print("SPS:", theirs_sb3(args.env, args.updates))
        return
    install_peers()
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
        "cleanrl": f"CleanRL {PEER_VERSION} ppo_atari_lstm with our network",
        "cleanrl_small": f"CleanRL {PEER_VERSION} ppo_atari with a smaller network",
        "sb3": f"Stable-Baselines3 {SB3_VERSION} PPO with a smaller network",
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
            "cleanrl": PEER_VERSION,
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
