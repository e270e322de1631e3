"""Others' PPO, as benchmarks/train.py measures it: where it comes from, and what is put into it.

Each is installed from PyPI into a folder of its own under .cache/peers/ and used as it is, but for the
network and for what steps the environment. Imported in processes that measure one peer each: CleanRL's
scripts are run as scripts, with stand-ins for modules that they import.
"""

from __future__ import annotations

import ast
import subprocess
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

CACHE = Path(__file__).resolve().parent.parent / ".cache" / "peers"
CLEANRL, CLEANRL_VERSION = CACHE / "cleanrl", "1.2.0"
SB3, SB3_VERSION = CACHE / "sb3", "2.9.2"
SLOTS, BATCH, MINIBATCHES, EPOCHS = 64, 8192, 4, 4
SCRIPTS = {"cleanrl": "ppo_atari_lstm.py", "cleanrl_small": "ppo_atari.py"}


def install() -> None:
    """Get the peers from PyPI where they aren't there yet. Raises CalledProcessError."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
    if not (CLEANRL / "cleanrl" / "ppo_atari.py").exists():
        CLEANRL.mkdir(parents=True, exist_ok=True)
        # The wheel says Python < 3.11 for the sake of old Gym, which is not used here.
        what = ["--ignore-requires-python", f"cleanrl=={CLEANRL_VERSION}"]
        subprocess.run([*pip, str(CLEANRL), *what], check=True)
    if not (SB3 / "stable_baselines3").exists():
        SB3.mkdir(parents=True, exist_ok=True)
        needs = ["pandas", "python-dateutil", "pytz", "six", "tzdata"]
        subprocess.run([*pip, str(SB3), f"stable-baselines3=={SB3_VERSION}", *needs], check=True)


def run_cleanrl(side: str, env_id: str, updates: int) -> None:
    """Runs the peer's main block in this process; it prints its own steps per second (SPS)."""
    import torch  # noqa: F401  # before our package, which sets how its threads wait

    sys.path.append(str(CLEANRL))
    for name, module in _stand_ins(env_id).items():
        sys.modules[name] = module
    path = CLEANRL / "cleanrl" / SCRIPTS[side]
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


def _our_network() -> tuple[Any, Callable[[Any, Any, Any], tuple[Any, Any, Any]]]:
    """Our preset ``nano``, and a function that shows it frames alone: one instruction, all choices live.

    That takes the screens (N, T, H, W, 3), where episodes begin (N, T) and the state before; it gives
    logits (N, T, A), values (N, T) and the state after.
    """
    import torch

    from universe2.agents.model import CHOICES, Network, Observation, preset
    from universe2.agents.returns import decode_value
    from universe2.agents.text import TextTable
    from universe2.core.screen import NVEC

    network = Network(preset("nano"))
    table = TextTable()
    texts = torch.from_numpy(table.ids(table.rows(["Break all the bricks."])))

    def see(screen_NTHW3: Any, first_NT: Any, state: Any) -> tuple[Any, Any, Any]:
        count, times = first_NT.shape
        obs = Observation(
            screen_NTHW3,
            texts,
            torch.zeros(count, times, dtype=torch.int64),
            torch.ones(count, CHOICES, dtype=torch.bool),
            torch.zeros(count, times, len(NVEC), dtype=torch.int64),
            torch.zeros(count, times),
            first_NT,
            torch.zeros(0, dtype=torch.int64),  # no pointer in this game
        )
        out = network(obs, state)
        return out.logits, decode_value(out.value_logits, network.config.value_limit), out.state

    return network, see


def _our_agent(layer_init: Any) -> type:
    """Our network behind the methods of the recurrent peer's agent."""
    import torch
    from torch import nn
    from torch.distributions.categorical import Categorical

    class Agent(nn.Module):
        def __init__(self, envs: Any) -> None:
            super().__init__()
            self.network, self._see = _our_network()
            self.choices = int(envs.single_action_space.n)
            self.lstm = types.SimpleNamespace(num_layers=1, hidden_size=self.network.config.hidden)

        def _run(self, x_BHW3: Any, state: Any, done_B: Any) -> tuple[Any, Any, Any]:
            """The peer's rows are times of all slots, one after another; its state is a pair."""
            hidden_ND, before = state[0][0], state[1][0]
            count = len(hidden_ND)
            if before.ndim == 2:  # the peer's own zeros, at the start
                before = self.network.initial_state(count)["brightness"]

            def slots_first(rows: Any) -> Any:
                return rows.view(-1, count, *rows.shape[1:]).transpose(0, 1).contiguous()

            state = {"hidden": hidden_ND, "brightness": before}
            seen = self._see(slots_first(x_BHW3.to(torch.uint8)), slots_first(done_B.bool()), state)
            logits, value, after = seen
            logits = logits[..., : self.choices].transpose(0, 1).flatten(0, 1)
            pair = (after["hidden"][None], after["brightness"][None])
            return logits, value.transpose(0, 1).reshape(-1, 1), pair

        def get_value(self, x: Any, lstm_state: Any, done: Any) -> Any:
            return self._run(x, lstm_state, done)[1]

        def get_action_and_value(self, x: Any, lstm_state: Any, done: Any, action: Any = None) -> Any:
            logits, value, after = self._run(x, lstm_state, done)
            probs = Categorical(logits=logits)
            action = probs.sample() if action is None else action
            return action, probs.log_prob(action), probs.entropy(), value, after

    return Agent


def run_sb3(side: str, env_id: str, updates: int) -> float:
    """Training steps per second of Stable-Baselines3's PPO, measured after its first rollout began."""
    sys.path.append(str(SB3))
    from stable_baselines3 import PPO

    vector = _sb3_vector(env_id)
    sizes = {"n_steps": BATCH // SLOTS, "batch_size": BATCH // MINIBATCHES, "n_epochs": EPOCHS}
    policy = {"sb3": _sb3_ours, "sb3_small": _sb3_small}[side]()
    model = PPO("CnnPolicy", vector, policy_kwargs={**policy, "net_arch": []}, device="cpu", **sizes)
    if side == "sb3":
        _take_columns(model.policy, int(vector.action_space.n))
    vector.reset()
    begin = time.perf_counter()
    model.learn(BATCH * updates)
    rate = BATCH * updates / (time.perf_counter() - begin)
    vector.close()
    return rate


def _sb3_vector(env_id: str) -> Any:
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

    return Vector()


def _sb3_small() -> dict[str, Any]:
    from stable_baselines3.common.torch_layers import BaseFeaturesExtractor

    class Encoder(BaseFeaturesExtractor):
        def __init__(self, space: Any) -> None:
            super().__init__(space, 128)
            agent = _small_agent(lambda layer, std=1.0: layer)
            envs = types.SimpleNamespace(single_action_space=types.SimpleNamespace(n=1))
            self.network = agent(envs).network

        def forward(self, x: Any) -> Any:
            return self.network(x)  # the images are channels first and in [0, 1] here

    return {"features_extractor_class": Encoder}


def _sb3_ours() -> dict[str, Any]:
    """Our network as what finds features: its logits, and its value last. Every frame is one by itself."""
    import torch
    from stable_baselines3.common.torch_layers import BaseFeaturesExtractor

    from universe2.agents.model import CHOICES

    class Encoder(BaseFeaturesExtractor):
        def __init__(self, space: Any) -> None:
            super().__init__(space, CHOICES + 1)
            self.network, self._see = _our_network()

        def forward(self, x_B3HW: Any) -> Any:
            screen_B1HW3 = x_B3HW.to(torch.uint8).permute(0, 2, 3, 1).contiguous()[:, None]
            first_B1 = torch.ones(len(x_B3HW), 1, dtype=torch.bool)
            state = self.network.initial_state(len(x_B3HW))
            logits, value, _ = self._see(screen_B1HW3, first_B1, state)
            return torch.cat([logits[:, 0], value], -1)

    return {"features_extractor_class": Encoder, "normalize_images": False, "ortho_init": False}


def _take_columns(policy: Any, choices: int) -> None:
    """Our network has heads of its own: the peer's take what these say, and train no weights."""
    from torch import nn

    class Take(nn.Module):
        def __init__(self, columns: slice) -> None:
            super().__init__()
            self.columns = columns

        def forward(self, features: Any) -> Any:
            return features[:, self.columns]

    policy.action_net, policy.value_net = Take(slice(0, choices)), Take(slice(-1, None))
