"""gRPC for Python with nothing around it, as bare_grpc.py, but with threads instead of asyncio.

    python bare_grpc_threads.py serve BYTES                 prints: serving on ADDRESS
    python bare_grpc_threads.py run ADDRESS SECONDS BYTES   prints messages per second, one in flight

The server answers every message with BYTES bytes; "run" sends BYTES bytes.
"""

from __future__ import annotations

import queue
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

OPTIONS = [("grpc.max_receive_message_length", -1)]


def serve(size: int) -> None:
    payload = bytes(size)

    def answer(requests: Iterator[bytes], _context: Any) -> Iterator[bytes]:
        for _ in requests:
            yield payload

    server = grpc.server(ThreadPoolExecutor(4), options=OPTIONS)
    methods = {"Stream": grpc.stream_stream_rpc_method_handler(answer)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("Bare", methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"serving on 127.0.0.1:{port}", flush=True)
    server.wait_for_termination()


def run(address: str, seconds: float, size: int) -> float:
    request = bytes(size)
    with grpc.insecure_channel(address, options=OPTIONS) as channel:
        outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        call = channel.stream_stream("/Bare/Stream")(iter(outbox.get, None))

        def one() -> None:
            outbox.put(request)
            next(call)

        for _ in range(20):
            one()
        count, began = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - began) < seconds:
            one()
            count += 1
        outbox.put(None)
        call.cancel()
        return count / elapsed


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]))
    else:
        print(run(sys.argv[2], float(sys.argv[3]), int(sys.argv[4])))
