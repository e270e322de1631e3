"""CuttingProxy: TCP between a client and a server, which the test can cut or make swallow everything."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Callable


class CuttingProxy:
    """Listens on ``address`` and passes everything on to ``target`` while it is ``whole``."""

    def __init__(self, target: str) -> None:
        host, port = target.rsplit(":", 1)
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._whole = threading.Event()
        self._whole.set()
        self._swallow = False
        self._lock = threading.Lock()
        self.passed = 0
        """connections that were passed on"""
        self._closing = False
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def cut(self) -> None:
        """End all connections; new ones end at once, until ``mend``."""
        self._whole.clear()
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def swallow(self) -> None:
        """Keep all connections, and pass nothing on any more: a network that lost its packets."""
        self._swallow = True

    def mend(self) -> None:
        """New connections pass. Those that swallowed stay broken."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        if self._swallow:
            for _, behind in pairs:
                with contextlib.suppress(OSError):
                    behind.shutdown(socket.SHUT_RDWR)
        self._swallow = False
        self._whole.set()

    def close(self) -> None:
        self.cut()
        self._closing = True
        with contextlib.suppress(OSError):
            socket.create_connection(self._listener.getsockname()[:2]).close()  # wakes the accepting thread
        for thread in self._threads:
            thread.join(5.0)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            if self._closing or not self._whole.is_set() or self._swallow:
                client.close()
                if self._closing:
                    return
                continue
            try:
                server = socket.create_connection(self._target)
            except OSError:  # it is being started again
                client.close()
                continue
            with self._lock:
                self._pairs.append((client, server))
                self.passed += 1
            self._start(self._pass_on, client, server)

    def _start(self, target: Callable[..., None], *arguments: socket.socket) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        """Until one end is over."""
        other = {client: server, server: client}
        with client, server, contextlib.suppress(OSError):
            while True:
                for source in select.select([client, server], [], [])[0]:
                    data = source.recv(2**16)
                    if not data:
                        return
                    if not self._swallow:
                        other[source].sendall(data)
