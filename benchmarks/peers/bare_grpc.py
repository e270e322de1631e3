"""gRPC for Python with nothing around it, as a peer of wire.py: one stream, raw bytes, asyncio on both sides.

    python bare_grpc.py serve BYTES                 prints: serving on ADDRESS
    python bare_grpc.py run ADDRESS SECONDS BYTES   prints messages per second, one in flight

The server answers every message with BYTES bytes; "run" sends BYTES bytes.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

import grpc


async def serve(size: int) -> None:
    payload = bytes(size)

    async def answer(requests: Any, _context: Any) -> Any:
        async for _ in requests:
            yield payload

    server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1)])
    methods = {"Stream": grpc.stream_stream_rpc_method_handler(answer)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("Bare", methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"serving on 127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


async def run(address: str, seconds: float, size: int) -> float:
    request = bytes(size)
    options = [("grpc.max_receive_message_length", -1)]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        call = channel.stream_stream("/Bare/Stream")()

        async def one() -> None:
            await call.write(request)
            await call.read()

        for _ in range(20):
            await one()
        count, began = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - began) < seconds:
            await one()
            count += 1
        call.cancel()
        return count / elapsed


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(serve(int(sys.argv[2])))
    else:
        print(asyncio.run(run(sys.argv[2], float(sys.argv[3]), int(sys.argv[4]))))
