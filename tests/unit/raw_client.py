"""A server of the environment that counts, and a client that says to it exactly what it is told to."""

from __future__ import annotations

import queue
from typing import Any

import grpc
import numpy as np
from google.protobuf.message import Message

from universe2.server import Server, ServerConfig
from universe2.testing.counting import COUNTING
from universe2.wire.v1 import universe_pb2 as pb


def start(opened: Any = None, **config: Any) -> Server:
    """A running server; without ``opened`` it serves the environment that numbers its steps."""
    settings = ServerConfig(**{"port": 0, "slots": 8, **config})
    server = Server(settings) if opened is None else Server(settings, opened)
    server.start()
    return server


class Raw:
    """A client that says exactly what it is told to, through plain protobuf."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.insecure_channel(address)
        self.out: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        stream = self.channel.stream_stream(
            "/universe2.wire.v1.Universe/Session",
            request_serializer=pb.Frame.SerializeToString,
            response_deserializer=pb.Frame.FromString,
        )
        self.replies = stream(iter(self.out.get, None), timeout=10.0)
        self.sequence = 0
        self.session = ""

    def say(self, *buffers: bytes, **header: Any) -> None:
        self.sequence += 1
        fields = {"sequence": self.sequence, "session": self.session, **header}
        self.out.put(pb.Frame(header=pb.Header(**fields), buffers=buffers))

    def open(self, **fields: Any) -> pb.Frame:
        ask = {"protocol": 1, "env_id": COUNTING.id, "interface": "native", "autoreset": "next_step"}
        self.say(open=pb.Open(**{**ask, "num_slots": 2, **fields}))
        reply = next(self.replies)
        self.session = reply.header.session
        return reply

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        self.out.put(None)
        self.replies.cancel()
        self.channel.close()


def ints(*values: int) -> bytes:
    return np.array(values, "<i4").tobytes()


def longs(*values: int) -> bytes:
    return np.array(values, "<i8").tobytes()
