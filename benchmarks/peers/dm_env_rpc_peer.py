"""dm_env_rpc as a peer of wire.py: its messages, its async connection, its spec managers.

    python dm_env_rpc_peer.py serve                          prints: serving on ADDRESS
    python dm_env_rpc_peer.py run ADDRESS ENVIRONMENTS SECONDS   prints environment steps per second

Runs in a virtual environment of its own, without universe2. Every environment is a stream of its
own, as dm_env_rpc has it; all of them are in flight at once.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

import grpc
import numpy as np
from dm_env_rpc.v1 import (
    async_connection,
    dm_env_rpc_pb2,
    dm_env_rpc_pb2_grpc,
    spec_manager,
    tensor_utils,
)

FRAME = (84, 84, 1)
SPECS = dm_env_rpc_pb2.ActionObservationSpecs(
    actions={1: dm_env_rpc_pb2.TensorSpec(name="action", dtype=dm_env_rpc_pb2.DataType.INT64)},
    observations={
        1: dm_env_rpc_pb2.TensorSpec(name="frame", dtype=dm_env_rpc_pb2.DataType.UINT8, shape=FRAME)
    },
)


class Trivial(dm_env_rpc_pb2_grpc.EnvironmentServicer):
    """Frames that cost next to nothing."""

    async def Process(self, requests: Any, context: Any) -> Any:
        frame = np.zeros(FRAME, np.uint8)
        async for request in requests:
            kind = request.WhichOneof("payload")
            response = dm_env_rpc_pb2.EnvironmentResponse()
            if kind == "step":
                frame[0, 0, 0] += 1
                response.step.state = dm_env_rpc_pb2.EnvironmentStateType.RUNNING
                response.step.observations[1].CopyFrom(tensor_utils.pack_tensor(frame))
            elif kind == "join_world":
                response.join_world.specs.CopyFrom(SPECS)
            else:
                getattr(response, kind).SetInParent()
            yield response


async def serve() -> None:
    server = grpc.aio.server()
    dm_env_rpc_pb2_grpc.add_EnvironmentServicer_to_server(Trivial(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"serving on 127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


async def run(address: str, count: int, seconds: float) -> float:
    async with grpc.aio.insecure_channel(address) as channel:
        connections = [async_connection.AsyncConnection(channel) for _ in range(count)]
        joined = [await c.send(dm_env_rpc_pb2.JoinWorldRequest()) for c in connections]
        actions = spec_manager.SpecManager(joined[0].specs.actions)
        observations = spec_manager.SpecManager(joined[0].specs.observations)

        async def step(connection: Any, action: int) -> Any:
            packed = actions.pack({"action": np.int64(action)})
            request = dm_env_rpc_pb2.StepRequest(requested_observations=[1], actions=packed)
            reply = await connection.send(request)
            return observations.unpack(reply.observations)["frame"]

        async def all_step(number: int) -> None:
            frames = await asyncio.gather(*(step(c, number % 4) for c in connections))
            np.stack(frames)

        await all_step(0)
        steps, began = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - began) < seconds:
            await all_step(steps)
            steps += 1
        return steps * count / elapsed


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(serve())
    else:
        print(asyncio.run(run(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))))
