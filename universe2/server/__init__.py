"""The gRPC server: a bridge from a stream to a Runtime, and nothing more."""

from universe2.server.service import Server, ServerConfig

__all__ = ["Server", "ServerConfig"]
