"""Stable-Baselines3's PPO, unmodified, learns an arcade game through ``gym.make``."""

from __future__ import annotations

import numpy as np
import pytest

import universe2  # noqa: F401  (registers the ids)


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.filterwarnings("default")
def test_sb3_ppo_learns_the_runner():
    sb3 = pytest.importorskip("stable_baselines3", reason="pip install stable-baselines3")
    import gymnasium as gym
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.evaluation import evaluate_policy

    def make() -> gym.Env:
        return gym.make("universe2:arcade/Runner-v0", num_levels=200)

    envs = make_vec_env(make, n_envs=16, seed=0)
    test_envs = make_vec_env(make, n_envs=16, seed=1000)
    model = sb3.PPO("CnnPolicy", envs, n_steps=64, batch_size=256, n_epochs=3, seed=0, device="cpu")
    before, _ = evaluate_policy(model, test_envs, 64, deterministic=False, return_episode_rewards=True)
    model.learn(100_000)
    after, _ = evaluate_policy(model, test_envs, 64, deterministic=False, return_episode_rewards=True)
    margin = 1.96 * (np.std(before) + np.std(after)) / 8
    assert np.mean(after) > np.mean(before) + margin
