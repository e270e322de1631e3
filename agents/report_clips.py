"""Clips: a policy at play, as a small animated WebP that fits into a page.

This file doesn't know the page. A clip is an illustration: what it shows counts in no score.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from PIL import Image
from rich.console import Console
from rich.markup import escape
from rich.progress import track

from universe2.agents.evaluate import Place
from universe2.agents.evaluate_policy import load_policy
from universe2.agents.policy import Policy
from universe2.agents.ranking_runs import SuiteRanking
from universe2.core.errors import FaultError, MissingDependencyError
from universe2.core.runtime import Runtime
from universe2.core.spec import EnvConfig

SIDE = 160
"""pixels of a clip's longer side"""
_MAX_FRAMES = 120
_FRAME_MS = 66
_LAST_FRAME_MS = 1200


@dataclass(frozen=True)
class Clip:
    """One filmed episode, or its beginning."""

    label: str
    webp: bytes
    size: tuple[int, int]
    """(width, height) in pixels"""
    total: float
    """sum of rewards while filming"""
    steps: int
    ended: bool
    """the episode's end is in the clip"""


def record_clip(
    policy: Policy,
    env_id: str,
    config: EnvConfig,
    seed: int,
    place: Place,
    max_steps: int = 240,
) -> tuple[list[np.ndarray], list[float], bool]:
    """Play one episode of at most ``max_steps`` steps and film it.

    Returns the frames (uint8 (H, W, 3), one more than steps), the rewards, and whether it ended.
    ``config`` must have ``autoreset="disabled"``. Raises FaultError if a fault cuts it.
    """
    with closing(place.open(env_id, 1, config)) as runtime:
        spaces = runtime.observation_space, runtime.action_space, runtime.action_mask
        policy.begin(env_id, 1, *spaces, seed)
        runtime.reset([0], [seed])
        frames: list[np.ndarray] = []
        rewards: list[float] = []
        while True:
            batch = runtime.recv(None)
            if batch.fault[0]:
                raise FaultError(f"{env_id}: while filming: {batch.fault_text.get(0, 'unknown fault')}")
            frames.append(_picture(runtime))
            if batch.step[0] > 0:
                rewards.append(float(batch.reward[0]))
            ended = bool(batch.ended[0])
            if ended or len(rewards) == max_steps:
                return frames, rewards, ended
            runtime.send([0], policy.act(batch.slots, batch.obs, batch.reward, batch.step == 0))


def encode_clip(label: str, frames: Sequence[np.ndarray], rewards: Sequence[float], ended: bool) -> Clip:
    """Frames → animated WebP, at most 120 of them, the last held for a moment."""
    every = -(-len(frames) // _MAX_FRAMES)
    kept = [*frames[:-1:every], frames[-1]]
    pictures = [_scaled(frame) for frame in kept]
    duration = [min(_FRAME_MS * every, 2 * _FRAME_MS)] * (len(pictures) - 1) + [_LAST_FRAME_MS]
    buffer = io.BytesIO()
    pictures[0].save(
        buffer,
        "WEBP",
        save_all=True,
        append_images=pictures[1:],
        duration=duration,
        loop=0,
        quality=70,
        method=2,
    )
    total = float(np.sum(rewards))
    return Clip(label, buffer.getvalue(), pictures[0].size, total, len(rewards), ended)


def film(
    policy_name: str,
    suite: SuiteRanking,
    place: Place,
    console: Console | None = None,
    temperature: float = 1.0,
) -> dict[str, list[Clip]]:
    """task → clips of the policy and of random play, on the task's first seed.

    A task that can't run there has no clip, and a line says so.
    """
    console = console or Console()
    shown = load_policy(policy_name, temperature=temperature)
    content = next(iter(suite.runs.values())).suite_content
    names = [run.name for run in suite.runs.values() if run.policy_hash == shown.hash] if shown.hash else []
    players = [(names[0] if names else shown.policy.name, shown.policy)]
    if shown.kind != "random":
        players.append(("random", load_policy("random", shown.policy.interface).policy))
    clips: dict[str, list[Clip]] = {}
    for task in track(content["tasks"], "filming", console=console, transient=True):
        for label, policy in players:
            config = EnvConfig(
                interface=policy.interface,
                screen_size=policy.screen_size,
                autoreset="disabled",
                options=task["options"],
            )
            try:
                taken = record_clip(policy, task["env_id"], config, task["seed"], place)
            except (FaultError, MissingDependencyError) as error:
                console.print(f"[yellow]no clip[/] {escape(str(error))}", highlight=False)
                break
            clips.setdefault(task["name"], []).append(encode_clip(label, *taken))
    return clips


def _picture(runtime: Runtime) -> np.ndarray:
    """The environment's own picture, or a larger one if that is too small for a clip."""
    own: np.ndarray = runtime.render([0])[0]
    height, width = own.shape[:2]
    if max(height, width) >= SIDE:
        return own
    scale = SIDE / max(height, width)
    larger: np.ndarray = runtime.render([0], (round(height * scale), round(width * scale)))[0]
    return larger


def _scaled(frame: np.ndarray) -> Image.Image:
    """To SIDE pixels on the longer side; small pictures are enlarged by whole factors, unblurred."""
    picture = Image.fromarray(np.ascontiguousarray(frame))
    width, height = picture.size
    scale = SIDE / max(width, height)
    if scale >= 2:
        factor = int(scale)
        return picture.resize((width * factor, height * factor), Image.Resampling.NEAREST)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return picture.resize(size, Image.Resampling.LANCZOS)
