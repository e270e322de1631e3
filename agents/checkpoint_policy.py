"""A checkpoint as a Policy: what a trained network does in evaluation.

Actions are drawn, each episode with random numbers of its own, so that what is done follows from
the seeds and from what was seen, whoever plays beside it and in whichever slot. Below a
temperature of 1 likely actions are drawn more often than the network says; at 0, only the likeliest.

Suffixes: K slots of one call, A = 209 choices.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from gymnasium import spaces

from universe2.agents.checkpoint import CHECKPOINT, checkpoint_in, read_checkpoint, under
from universe2.agents.learner import model_config
from universe2.agents.model import Network, Observation
from universe2.agents.pointing import points
from universe2.agents.text import TextTable
from universe2.agents.threads import use_threads
from universe2.core.errors import InterfaceError
from universe2.core.screen import NVEC

_STARTS = np.cumsum((0, *NVEC[:-1]))


class CheckpointPolicy:
    """Plays a checkpoint of ``universe2 train``. See ``Policy`` for the methods."""

    interface: Literal["native", "screen"] = "screen"

    def __init__(self, path: Path, device: str = "cpu", temperature: float = 1.0) -> None:
        self.path = path
        tensors, meta = read_checkpoint(path)
        config = model_config(meta)
        self.name = path.resolve().parent.name if path.name == CHECKPOINT else path.stem
        self.screen_size = config.screen_size
        self._device = torch.device(device)
        self._temperature = temperature
        self._network = Network(config)
        self._network.load_state_dict(under(tensors, "model."))
        self._network.to(self._device).eval()

    def begin(
        self,
        env_id: str,
        num_slots: int,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        action_mask: np.ndarray | None,
        seed: int,
    ) -> None:
        if action_mask is None:
            raise InterfaceError(
                f"{env_id}: action_mask is None, but a checkpoint needs the environment's own "
                '(env.unwrapped.action_mask); there is one under interface="screen" only'
            )
        self._mask_A = torch.from_numpy(np.array(action_mask, bool)).to(self._device)
        self._points = len(points(action_mask[None])) > 0
        self._seed = seed
        self._rngs = [np.random.default_rng([seed, slot]) for slot in range(num_slots)]
        self._state = self._network.initial_state(num_slots)
        self._action = np.zeros((num_slots, len(NVEC)), np.int64)
        self._texts = TextTable()

    def episode_begins(self, slot: int, seed: int) -> None:
        self._rngs[slot] = np.random.default_rng([self._seed, seed])

    def act(self, slots_K: np.ndarray, obs_K: Any, reward_K: np.ndarray, first_K: np.ndarray) -> np.ndarray:
        rows = torch.as_tensor(np.asarray(slots_K, np.int64), device=self._device)
        rows_U, text_index = np.unique(self._texts.rows(obs_K["instruction"]), return_inverse=True)
        before = np.where(first_K[:, None], 0, self._action[slots_K])
        reward = np.where(first_K, 0.0, reward_K).astype(np.float32)
        obs = Observation(
            screen=self._tensor(np.array(obs_K["screen"]))[:, None],
            texts=self._tensor(self._texts.ids(rows_U)),
            text_index=self._tensor(text_index)[:, None],
            mask=self._mask_A.expand(len(slots_K), -1),
            prev_action=self._tensor(before)[:, None],
            prev_reward=self._tensor(reward)[:, None],
            first=self._tensor(np.array(first_K, bool))[:, None],
            points=self._tensor(np.arange(len(slots_K) if self._points else 0)),
        )
        with torch.inference_mode():
            output = self._network(obs, {name: value[rows] for name, value in self._state.items()})
            for name, value in output.state.items():
                self._state[name][rows] = value
        action = self._draw(output.logits[:, 0].cpu().numpy(), slots_K)
        self._action[slots_K] = action
        return action

    def _draw(self, logits_KA: np.ndarray, slots_K: np.ndarray) -> np.ndarray:
        """Gumbel-max, with the same count of random numbers for every step of a slot."""
        noise_KA = np.stack([self._rngs[slot].gumbel(size=sum(NVEC)) for slot in slots_K])
        parts = np.split(logits_KA + self._temperature * noise_KA, _STARTS[1:], axis=1)
        return np.stack([part.argmax(1) for part in parts], 1).astype(np.int64)

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(self._device)


def load(path: str, temperature: float = 1.0) -> CheckpointPolicy:
    """The policy in the checkpoint file ``path``, or in the run's folder that holds one."""
    use_threads()
    return CheckpointPolicy(checkpoint_in(Path(path)), temperature=temperature)
