"""``universe2 serve``: lend this machine's environments to others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    host: Annotated[
        str, typer.Option(help="Address to listen on. Anything but this machine's own needs a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 lets the system choose one.")] = 15900,
    slots: Annotated[int, typer.Option(help="Environments lent at the same time, over all sessions.")] = 256,
    sessions: Annotated[int, typer.Option(help="Sessions open at the same time.")] = 64,
    token_file: Annotated[
        Path | None,
        typer.Option(help="File with the token that callers must show: one line, 16 characters or more."),
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Listen beyond this machine although there is no token.")
    ] = False,
    lease: Annotated[
        float, typer.Option(help="Seconds of silence after which a session's slots are taken back.")
    ] = 60.0,
    max_message_mb: Annotated[
        float, typer.Option(help="Largest gRPC message, in MiB. What is larger travels in pieces.")
    ] = 16.0,
    max_frame_mb: Annotated[
        float, typer.Option(help="Largest batch of all its pieces, in MiB. What is larger is refused.")
    ] = 256.0,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error; goes to stderr.")] = "info",
) -> None:
    """Serve this machine's environments over gRPC until Ctrl-C or SIGTERM.

    Prints one line on stdout once it accepts calls. Then, from anywhere that reaches it:

        gym.make("universe2:arcade/Breakout-v0", remote="127.0.0.1:15900")

    To serve other machines, make a token and give it to both sides:

        python -c "import secrets; print(secrets.token_urlsafe())" > token

        universe2 serve --host 0.0.0.0 --token-file token

    Ends in good order: accepts nothing new, ends the sessions, closes their environments.
    """
    import logging
    import os
    import signal
    import sys
    import threading

    # gRPC's own log would say in three lines what our error says in one.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")

    from universe2.core.errors import UsageError
    from universe2.server import Server, ServerConfig
    from universe2.server.auth import read_token
    from universe2.server.service import serve_forever

    level = log_level.upper()
    if level not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise UsageError(f"--log-level must be debug, info, warning or error, got {log_level!r}")
    logging.basicConfig(
        level=level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    config = ServerConfig(
        host=host,
        port=port,
        slots=slots,
        sessions=sessions,
        token=None if token_file is None else read_token(token_file),
        insecure=insecure,
        lease=lease,
        max_message_bytes=int(max_message_mb * 2**20),
        max_frame_bytes=int(max_frame_mb * 2**20),
    )
    server = Server(config)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())

    def announce(ready: Server) -> None:
        guard = "token required" if config.token else "no token"
        print(f"serving on {ready.address} ({slots} slots, {guard})", flush=True)

    serve_forever(server, stop, announce)
