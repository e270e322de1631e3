"""``universe2 serve``: lend this machine's environments to others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import queue
    import threading

    from universe2.server import ServerConfig
    from universe2.server.config import TlsFiles
    from universe2.server.opening import OpenRuntime


def command(
    config: Annotated[
        Path | None, typer.Option(help="TOML file with the settings below and more; flags go before it.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Only say whether the settings are right.")] = False,
    host: Annotated[
        str | None,
        typer.Option(help="Address to listen on [127.0.0.1]. Anything but this machine's own needs a token."),
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port [15900]; 0 lets the system choose one.")] = None,
    slots: Annotated[
        int | None, typer.Option(help="Environments lent at the same time, over all sessions [256].")
    ] = None,
    sessions: Annotated[int | None, typer.Option(help="Sessions open at the same time [64].")] = None,
    queue: Annotated[int | None, typer.Option(help="Clients that may wait for slots [64].")] = None,
    families: Annotated[
        str | None, typer.Option(help="Families to offer, with commas: arcade,atari \\[all].")
    ] = None,
    behind: Annotated[
        list[str] | None,
        typer.Option(
            "--behind",
            help="host:port of a server that has the environments; this one stands in front. Repeat it.",
        ),
    ] = None,
    behind_token_file: Annotated[
        Path | None, typer.Option(help="File with the token that the servers behind ask for.")
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(help="File with the token that callers must show: one line, 16 characters or more."),
    ] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate chain (PEM): serve over TLS.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its key (PEM).")] = None,
    tls_client_ca: Annotated[
        Path | None, typer.Option(help="Serve only clients with a certificate from this authority (PEM).")
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Listen beyond this machine although there is no token.")
    ] = False,
    lease: Annotated[
        float | None,
        typer.Option(help="Seconds of silence after which a session's slots are taken back [60]."),
    ] = None,
    drain: Annotated[
        float | None, typer.Option(help="Seconds that running sessions may go on after SIGTERM [30].")
    ] = None,
    no_restore: Annotated[
        bool,
        typer.Option("--no-restore", help="Take no states from clients: made-up ones can crash the server."),
    ] = False,
    until_eof: Annotated[
        bool,
        typer.Option(
            "--until-eof", help="End, as by Ctrl-C, when stdin ends: with the program that holds it."
        ),
    ] = False,
    metrics_port: Annotated[
        int | None, typer.Option(help="Port of Prometheus metrics, on the same address \\[none].")
    ] = None,
    max_message_mb: Annotated[
        float | None,
        typer.Option(help="Largest gRPC message, in MiB [16]. What is larger travels in pieces."),
    ] = None,
    max_frame_mb: Annotated[
        float | None,
        typer.Option(help="Largest batch of all its pieces, in MiB [256]. What is larger is refused."),
    ] = None,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error; goes to stderr.")] = "info",
    log_format: Annotated[str, typer.Option(help="text, or json: one object a line.")] = "text",
) -> None:
    """Serve this machine's environments over gRPC until Ctrl-C or SIGTERM.

    Prints one line on stdout once it accepts calls. Then, from anywhere that reaches it:

        gym.make("universe2:arcade/Breakout-v0", remote="127.0.0.1:15900")

    To serve other machines, make a token and give it to both sides:

        python -c "import secrets; print(secrets.token_urlsafe())" > token
        universe2 serve --host 0.0.0.0 --token-file token

    With --behind it is a gateway: one address in front of many servers, whose slots it lends.

    SIGTERM ends it gently: it opens nothing new, tells the running sessions, and waits for them as
    long as --drain says. Ctrl-C, or a second SIGTERM, ends them at once. Either way it exits with 0.
    """
    import os

    # gRPC's own log would say in three lines what our error says in one.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")

    from universe2.core.files import read_token
    from universe2.server.config import host_and_port
    from universe2.server.descriptors import provide_descriptors
    from universe2.server.logs import set_up

    set_up(log_level, log_format)
    flags: dict[str, Any] = {
        "host": host,
        "port": port,
        "slots": slots,
        "sessions": sessions,
        "queue": queue,
        "families": None if families is None else tuple(map(str.strip, families.split(","))),
        "token": None if token_file is None else read_token(token_file),
        "tls": _tls(tls_cert, tls_key, tls_client_ca),
        "insecure": insecure or None,
        "lease": lease,
        "drain_seconds": drain,
        "restore": False if no_restore else None,
        "metrics_port": metrics_port,
        "max_message_bytes": _bytes("--max-message-mb", max_message_mb),
        "max_frame_bytes": _bytes("--max-frame-mb", max_frame_mb),
    }
    settings = _settings(config, {name: value for name, value in flags.items() if value is not None})
    opener = _opener(behind or [], behind_token_file)
    _refuse_itself(settings, behind or [])
    provide_descriptors(settings)
    guard = "token required" if settings.everyone() else "no token"
    about = f"{settings.slots} slots, {guard}{', TLS' if settings.tls else ''}"
    if not settings.restore:
        about += ", no restore"
    if behind:
        about += f", in front of {', '.join(behind)}"
    if check:
        print(f"the settings are right: {host_and_port(settings.host, settings.port)} ({about})")
    else:
        _run(settings, opener, about, until_eof)


def _bytes(flag: str, megabytes: float | None) -> int | None:
    """Of a size in MiB; how large it may be, ServerConfig knows."""
    import math

    from universe2.core.errors import UsageError

    if megabytes is None:
        return None
    if not math.isfinite(megabytes):
        raise UsageError(f"{flag} must be a number of MiB, got {megabytes}")
    return int(megabytes * 2**20)


def _tls(certificate: Path | None, key: Path | None, client_ca: Path | None) -> TlsFiles | None:
    from universe2.core.errors import UsageError
    from universe2.server.config import TlsFiles

    if not (certificate or key or client_ca):
        return None
    if certificate is None or key is None:
        raise UsageError("TLS needs both --tls-cert and --tls-key")
    return TlsFiles(certificate=certificate, key=key, client_ca=client_ca)


def _settings(config: Path | None, given: dict[str, Any]) -> ServerConfig:
    """The file's, with the flags in its place. Certificates are read once, to see that they can be."""
    from universe2.server import ServerConfig
    from universe2.server.auth import server_credentials
    from universe2.server.config import read_config

    settings = ServerConfig(**{**(read_config(config) if config else {}), **given})
    if settings.tls is not None:
        server_credentials(settings.tls.certificate, settings.tls.key, settings.tls.client_ca)
    return settings


def _refuse_itself(settings: ServerConfig, behind: list[str]) -> None:
    """A gateway behind itself would open each session at itself, until there are none left.

    Found where both addresses are spelled alike, or are names of this machine that every machine has; no
    name is looked up.
    """
    from urllib.parse import urlsplit

    from universe2.core.errors import UsageError

    here = {"localhost", "127.0.0.1", "::1", "0.0.0.0", "::"}
    own = here if settings.host in here else {settings.host.lower()}
    for address in behind:
        place = urlsplit(address if "://" in address else f"//{address}")
        if place.hostname in own and place.port == settings.port:
            raise UsageError(
                f"--behind {address} is this server itself, on port {settings.port}: name another server, "
                "or give this one another --port"
            )


def _run(settings: ServerConfig, opener: OpenRuntime, about: str, until_eof: bool) -> None:
    """Serve until a signal says otherwise, or the end of stdin if that counts."""
    import queue
    import signal
    import threading

    from universe2.server import Server
    from universe2.server.service import serve_forever

    server = Server(settings, opener)
    stop, drained = threading.Event(), threading.Event()
    # A handler may interrupt this thread while it holds an event's lock; a put takes none.
    signals: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: signals.put(number))
    threading.Thread(target=_obey, args=(signals, stop, drained), daemon=True, name="signals").start()
    if until_eof:
        threading.Thread(target=_set_at_eof, args=(stop,), daemon=True, name="stdin").start()
    serve_forever(
        server, stop, lambda ready: print(f"serving on {ready.address} ({about})", flush=True), drained
    )


def _obey(signals: queue.SimpleQueue[int], stop: threading.Event, drained: threading.Event) -> None:
    import signal

    while True:
        if signals.get() == signal.SIGTERM and not drained.is_set():
            drained.set()
        else:
            stop.set()


def _set_at_eof(stop: threading.Event) -> None:
    """Wait until stdin ends: the other end of a pipe is closed even if its holder was killed."""
    import contextlib
    import logging
    import os

    with contextlib.suppress(OSError):  # there is no stdin
        # not sys.stdin, whose lock a thread that waits would hold when the interpreter ends
        while os.read(0, 4096):
            pass
    logging.getLogger("universe2.server").warning("stdin ended, and this server with it (--until-eof)")
    stop.set()


def _opener(behind: list[str], token_file: Path | None) -> OpenRuntime:
    """Where sessions get their slots: from this machine, or spread over the servers behind this one.

    Raises UsageError for addresses and a token file that can't be right; nobody is called yet.
    """
    from universe2.client import open_remote
    from universe2.client.stream import channel_to
    from universe2.core.errors import UsageError
    from universe2.core.files import read_token
    from universe2.runtimes import open_runtime

    if not behind:
        if token_file is not None:
            raise UsageError("--behind-token-file is for the servers of --behind, and none is named")
        return open_runtime
    for address in behind:
        try:
            channel_to(address).close()
        except UsageError as error:
            raise UsageError(f"--behind: {error}") from None
    if len(set(behind)) < len(behind):
        raise UsageError(f"--behind names a server twice: {', '.join(behind)}")
    token = None if token_file is None else read_token(token_file)
    return lambda env_id, num_slots, config: open_remote(
        env_id,
        num_slots,
        config,
        behind,
        token,
        wait=0.0,  # the client waits, not this server
        max_faults=2**32 - 1,  # the client's number counts, or this server's
        same_definition=False,  # the client's definition counts, not this server's
    )
