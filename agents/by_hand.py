"""A policy in the hand: asked for one action at a time, in anyone's Gymnasium loop.

This file knows no networks and no suites: ``evaluate_policy`` says what a name means.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from universe2.agents.evaluate_policy import load_policy
from universe2.agents.policy import Chancy
from universe2.core.errors import InterfaceError, UsageError
from universe2.core.seeding import mix
from universe2.core.spaces import stack, unstack


def player(
    policy: str, env: gym.Env[Any, Any], temperature: float = 1.0, seed: int = 0
) -> Callable[[Any, float | None], Any]:
    """What plays ``env`` as ``policy`` does: ``action = act(obs, reward)``.

    ``policy`` is a run's folder, a checkpoint, ``module:function`` or ``random``; ``temperature`` is a
    checkpoint's, which at 0 does what is likeliest. ``reward`` came with the observation; None says that an
    episode begins, and what the policy remembers is forgotten. All chance follows from ``seed``. Raises
    UsageError if there is no such policy, and InterfaceError if ``env`` was opened with another interface
    or screen size than it plays.
    """
    if not isinstance(env, gym.Env):
        raise UsageError(f"a player plays one gymnasium.Env, got {type(env).__name__}")
    playing = load_policy(policy, temperature=temperature).policy
    if playing.interface == "screen":
        _check_screen(env, playing.screen_size)
    mask = getattr(env.unwrapped, "action_mask", None)
    env_id = str(env) if env.spec is None else env.spec.id.removeprefix("universe2:")
    playing.begin(env_id, 1, env.observation_space, env.action_space, mask, seed)
    slots, episodes = np.zeros(1, np.int64), 0

    def act(obs: Any, reward: float | None) -> Any:
        nonlocal episodes
        first = reward is None
        if first and isinstance(playing, Chancy):
            playing.episode_begins(0, mix(seed + episodes) >> 1)
        episodes += first
        seen = stack(env.observation_space, [obs])
        rewards = np.array([0.0 if reward is None else reward])
        return unstack(env.action_space, playing.act(slots, seen, rewards, np.array([first])), 1)[0]

    return act


def _check_screen(env: gym.Env[Any, Any], size: tuple[int, int]) -> None:
    fitting = f'open it with universe2.make(id, interface="screen", screen_size={tuple(size)})'
    space = env.observation_space
    if getattr(env.unwrapped, "action_mask", None) is None:
        raise InterfaceError(f"{env} has no action_mask: it isn't played through the screen; {fitting}")
    if not isinstance(space, spaces.Dict):
        raise InterfaceError(f"the policy sees the screen and the instruction, {env} gives {space}")
    shape = space["screen"].shape
    if shape is None or shape[:2] != tuple(size):
        raise InterfaceError(f"{env} has screens of {shape and shape[:2]}, the policy sees {size}; {fitting}")
