"""The gRPC server: a bridge from a stream to a Runtime, and nothing more."""

from universe2.server.config import ServerConfig
from universe2.server.service import Server

__all__ = ["Server", "ServerConfig"]
