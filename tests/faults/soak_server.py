"""A server for the soak, in a process of its own: python soak_server.py PORT [ADDRESS BEHIND …].

Serves the environment that numbers its steps, with a leaf large enough for codecs; with addresses it is
a gateway in front of those. Prints its own once it accepts calls.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

import numpy as np
from gymnasium import spaces

from universe2.client import open_remote
from universe2.core.batch import Batch
from universe2.core.runtime import Runtime
from universe2.core.spec import EnvConfig, EnvSpec
from universe2.server import Server, ServerConfig
from universe2.server.service import serve_forever
from universe2.testing.counting import COUNTING, CountingRuntime

FRAME = 4096


def frames_of(count_N3: np.ndarray) -> np.ndarray:
    """uint8 (N, FRAME): what the leaf ``frame`` must be beside these counts. Few bytes change in a step."""
    frames = np.zeros((len(count_N3), FRAME), np.uint8)
    frames[:, ::64] = (count_N3[:, :1] % 251).astype(np.uint8)
    frames[:, 100] = (count_N3[:, 1] % 256).astype(np.uint8)
    return frames


class Numbered(CountingRuntime):
    """CountingRuntime, with ``frame``."""

    def __init__(self, spec: EnvSpec, num_slots: int, config: EnvConfig) -> None:
        super().__init__(spec, num_slots, config)
        assert isinstance(self.observation_space, spaces.Dict)
        leaves: dict[str, spaces.Space[Any]] = dict(self.observation_space.spaces)
        self.observation_space = spaces.Dict({**leaves, "frame": spaces.Box(0, 255, (FRAME,), np.uint8)})

    def recv(self, timeout: float | None = None) -> Batch:
        batch = super().recv(timeout)
        batch.obs["frame"] = frames_of(batch.obs["count"])
        if len(batch.final_rows):
            batch.final_obs["frame"] = frames_of(batch.final_obs["count"])
        return batch


def main(port: str, *behind: str) -> None:
    def opened(env_id: str, num_slots: int, config: EnvConfig) -> Runtime:
        if behind:
            return open_remote(env_id, num_slots, config, behind, lease=10.0, same_host=False)
        return Numbered(COUNTING, num_slots, config)

    server = Server(ServerConfig(port=int(port), slots=512), opened)
    serve_forever(server, threading.Event(), lambda ready: print(ready.address, flush=True))


if __name__ == "__main__":
    main(*sys.argv[1:])
