"""OpenEnv as a peer of wire.py: its server, its WebSocket sessions, its asyncio client.

    python openenv_peer.py serve WAY                          prints: serving on ADDRESS
    python openenv_peer.py run ADDRESS WAY ENVIRONMENTS SECONDS   prints environment steps per second

WAY is how a frame travels: "list", flattened into a JSON list of integers, as OpenEnv's own Atari
environment sends it, under the server's default settings; "base64", with the sockets' compression
off; "async", base64 with the environment's step_async overridden, which spares a thread a step.
Runs in a virtual environment of its own, without universe2. Every environment is a session of its
own, as OpenEnv has it; all of them are in flight at once.
"""

from __future__ import annotations

import asyncio
import base64
import socket
import sys
import time
from typing import Any

import numpy as np
from openenv.core.client_types import StepResult
from openenv.core.env_client import EnvClient
from openenv.core.env_server.http_server import create_fastapi_app
from openenv.core.env_server.interfaces import Environment
from openenv.core.env_server.types import Action, Observation, State

SHAPE = (84, 84, 1)


class Move(Action):
    action_id: int


class Frame(Observation):
    screen: Any
    screen_shape: list[int]


class Trivial(Environment):
    """Frames that cost next to nothing."""

    SUPPORTS_CONCURRENT_SESSIONS = True
    way = "list"

    def __init__(self) -> None:
        super().__init__()
        self._frame = np.zeros(SHAPE, np.uint8)
        self._state = State(episode_id="0", step_count=0)

    def reset(self, seed: int | None = None, episode_id: str | None = None, **_: Any) -> Frame:
        return self._look()

    def step(self, action: Move, timeout_s: float | None = None, **_: Any) -> Frame:
        self._frame[0, 0, 0] += 1
        return self._look()

    @property
    def state(self) -> State:
        return self._state

    def _look(self) -> Frame:
        if self.way == "list":
            screen: Any = self._frame.flatten().tolist()
        else:
            screen = base64.b64encode(self._frame.tobytes()).decode()
        return Frame(screen=screen, screen_shape=list(SHAPE), done=False, reward=1.0)


class AsyncTrivial(Trivial):
    """The same without a thread for each step."""

    async def step_async(self, action: Move, timeout_s: float | None = None, **_: Any) -> Frame:
        return self.step(action)


class Client(EnvClient):
    """Frames as arrays."""

    way = "list"

    def _step_payload(self, action: Move) -> dict[str, Any]:
        return {"action_id": action.action_id}

    def _parse_result(self, payload: dict[str, Any]) -> StepResult:
        found = payload["observation"]
        if self.way == "list":
            flat = np.array(found["screen"], np.uint8)
        else:
            flat = np.frombuffer(base64.b64decode(found["screen"]), np.uint8)
        return StepResult(
            observation=flat.reshape(found["screen_shape"]),
            reward=payload.get("reward"),
            done=payload.get("done", False),
        )

    def _parse_state(self, payload: dict[str, Any]) -> State:
        return State(**payload)


def serve(way: str) -> None:
    import uvicorn

    Trivial.way = way
    made = AsyncTrivial if way == "async" else Trivial
    app = create_fastapi_app(made, Move, Frame, max_concurrent_envs=1024)
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    settings = uvicorn.Config(app, log_level="warning", ws_per_message_deflate=way == "list")
    print(f"serving on 127.0.0.1:{listening.getsockname()[1]}", flush=True)
    uvicorn.Server(settings).run(sockets=[listening])


async def run(address: str, way: str, count: int, seconds: float) -> float:
    Client.way = way
    clients = [Client(base_url=f"http://{address}") for _ in range(count)]
    for client in clients:
        await client.connect()
        await client.reset()

    async def all_step(number: int) -> None:
        move = Move(action_id=number % 4)
        results = await asyncio.gather(*(client.step(move) for client in clients))
        np.stack([result.observation for result in results])

    await all_step(0)
    steps, began = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - began) < seconds:
        await all_step(steps)
        steps += 1
    for client in clients:
        await client.disconnect()
    return steps * count / elapsed


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    else:
        print(asyncio.run(run(sys.argv[2], sys.argv[3], int(sys.argv[4]), float(sys.argv[5]))))
