"""Server: the gRPC endpoint. It listens, checks versions and tokens, and reaps what is dead.

What a stream says is the session's business; what an environment does is the runtime's.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import grpc
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection

from universe2.core.errors import (
    CapacityError,
    ProtocolError,
    ServerLostError,
    Universe2Error,
    UnknownEnvError,
    UsageError,
    shortened,
)
from universe2.core.heap import keep_messages
from universe2.core.registry import families
from universe2.runtimes import open_runtime as open_local
from universe2.server.auth import TokenInterceptor, Who, holder_of, server_credentials, who_calls
from universe2.server.capacity import Capacity, Share, Ticket
from universe2.server.config import ServerConfig, host_and_port
from universe2.server.door import Caller, Door
from universe2.server.metrics import Metrics
from universe2.server.opening import Asked, Openings, OpenRuntime, read_asks
from universe2.server.session import Send, Session, error_header, failure
from universe2.server.silence import OPEN_THREADS, Hanger, Punctual, Silence
from universe2.wire.frames import MAX_HEADER_BYTES, PROTOCOL, Assembler, Frame, Message, decode, encode
from universe2.wire.v1 import universe_pb2 as pb

log = logging.getLogger("universe2.server")

SERVICE, HEALTH = "universe2.wire.v1.Universe", "grpc.health.v1.Health"
FEATURES = (
    "batched",
    "snapshot",
    "render",
    "chunks",
    "resume",
    "queue",
    "shared_memory",
    "local_socket",
    "delta",
    "watch",
    "members",
)
SPARE_THREADS = 16
"""Beyond one per session, viewer and place in the queue: for Info, health, and refusals."""

MAX_VIEWERS = 32
"""Streams of pictures at a time."""

KEEPALIVE_SECONDS = 30.0
"""How often a connection that says nothing is asked whether it is still there, and how long it has to answer.
A session has its lease; a viewer says nothing, and would be shown pictures for ever."""

HEAR_SECONDS = 2.0
"""How long a session whose lease is over may take to hear so; then its stream is cancelled, and once more so
long later its slots are taken back, whatever its thread does."""

QUEUE_TELLS_SECONDS = 5.0
"""How often a client in the queue is told its place although that didn't change."""


class Server:
    """Serves until ``stop``. ``open_runtime`` is what a session's slots come from."""

    def __init__(self, config: ServerConfig, open_runtime: OpenRuntime = open_local) -> None:
        self.config = config
        keep_messages()
        self.capacity = Capacity(config.slots, config.sessions, config.queue)
        self._open_runtime = open_runtime
        self.metrics = Metrics(self.capacity)
        self._holders = config.everyone()
        self._sessions: dict[str, Session] = {}
        self._openings = Openings()
        self._silence = Silence()
        self._lock = threading.Lock()
        self._watching = threading.Semaphore(MAX_VIEWERS)
        self._stopping = threading.Event()
        self._draining = threading.Event()
        calls = config.sessions + config.queue + MAX_VIEWERS + SPARE_THREADS
        self._pool = ThreadPoolExecutor(calls, thread_name_prefix="grpc")
        self._open_pool = ThreadPoolExecutor(OPEN_THREADS, thread_name_prefix="grpc-open")
        self._grpc = self._build()
        self.port = self._bind()
        most = config.sessions + SPARE_THREADS
        self._door = Door(self._local_session, most, config.max_message_bytes)
        self._reaper = threading.Thread(target=self._reap, daemon=True, name="reaper")

    @property
    def address(self) -> str:
        return host_and_port(self.config.host, self.port)

    def start(self) -> None:
        """Begin to accept. Returns at once."""
        if self.config.metrics_port:
            self.metrics.serve(self.config.host, self.config.metrics_port)
        self._grpc.start()
        self._door.start()
        self._reaper.start()

    def drain(self, give_up: threading.Event) -> None:
        """Open no more sessions, tell the running ones, and wait until they are over.

        At most ``drain_seconds``, or until ``give_up`` is set. What still runs then, ``stop`` ends.
        """
        seconds = self.config.drain_seconds
        self._open_no_more()
        with self._lock:
            sessions = list(self._sessions.values())
        log.info("draining: %d sessions may go on for %g s", len(sessions), seconds)
        for session in sessions:
            session.tell(pb.Header(drain=pb.Drain(seconds=seconds)))
        end = time.monotonic() + seconds
        while self.capacity.sessions_open and time.monotonic() < end and not give_up.wait(0.05):
            pass

    def stop(self, grace: float = 5.0) -> None:
        """Accept nothing more, end all sessions, wait at most ``grace`` seconds for them."""
        self._stopping.set()
        self._open_no_more()
        self._openings.stop(ServerLostError("the server is shutting down and opens no more sessions"))
        stopped = self._grpc.stop(grace)
        self._door.close()
        with self._lock:
            sessions = list(self._sessions.values())
        for session in sessions:
            session.end(ServerLostError("the server is shutting down"))
        if stopped.wait(grace + 5.0):  # gRPC leaves its threads to who gave them
            self._pool.shutdown(wait=False)
            self._open_pool.shutdown(wait=False)
        self._door.wait(grace)
        with contextlib.ExitStack() as stack:  # one that fails to close leaves no other open
            stack.callback(self.metrics.close)
            for session in sessions:
                stack.callback(session.close)

    def _open_no_more(self) -> None:
        """From now on nobody gets a session: not who comes, not who waits, not whose slots are opening."""
        self._draining.set()
        self.capacity.close()

    def _check_admitting(self) -> None:
        if self._draining.is_set():
            raise ServerLostError("the server is shutting down and opens no more sessions")

    def _build(self) -> grpc.Server:
        limit = self.config.max_message_bytes
        options = [
            ("grpc.so_reuseport", 0),  # otherwise a second server on the port takes half its calls
            ("grpc.max_receive_message_length", limit),
            ("grpc.max_send_message_length", -1),  # what a client accepts, it has said
            ("grpc.keepalive_time_ms", int(1000 * KEEPALIVE_SECONDS)),
            ("grpc.keepalive_timeout_ms", int(1000 * KEEPALIVE_SECONDS)),
            ("grpc.http2.ping_timeout_ms", int(1000 * KEEPALIVE_SECONDS)),  # the same; 60 s unless told
            # None but identity: gRPC inflates a message before it looks how large it is.
            ("grpc.compression_enabled_algorithms_bitset", 1),
        ]
        guards: list[grpc.ServerInterceptor] = [
            Punctual(self._silence, but=f"/{SERVICE}/Session", open_pool=self._open_pool)
        ]
        if self._holders:
            guards.insert(0, TokenInterceptor(self._holders))
        server = grpc.server(self._pool, interceptors=guards, options=options)
        methods = {
            "Info": grpc.unary_unary_rpc_method_handler(
                self._info, pb.InfoRequest.FromString, pb.InfoReply.SerializeToString
            ),
            "Session": grpc.stream_stream_rpc_method_handler(self._session),
            "Watch": grpc.unary_stream_rpc_method_handler(self._watch, pb.WatchRequest.FromString),
        }
        # The library's servicer is not for strangers: it holds a lock while it waits for a watcher to be sent
        # to, and a few that come and go stop the whole server.
        check = grpc.unary_unary_rpc_method_handler(
            self._check,
            health_pb2.HealthCheckRequest.FromString,
            health_pb2.HealthCheckResponse.SerializeToString,
        )
        for name, handlers in ((SERVICE, methods), (HEALTH, {"Check": check})):
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))
        reflection.enable_server_reflection((SERVICE, HEALTH, reflection.SERVICE_NAME), server)
        return server

    def _bind(self) -> int:
        address = host_and_port(self.config.host, self.config.port)
        tls = self.config.tls
        try:
            if tls is None:
                port = self._grpc.add_insecure_port(address)
            else:
                secrets = server_credentials(tls.certificate, tls.key, tls.client_ca)
                port = self._grpc.add_secure_port(address, secrets)
        except RuntimeError:
            port = 0
        if not port:
            raise UsageError(
                f"cannot listen on {address}: the port is taken, or the address isn't this machine's; "
                "choose another with --port or --host"
            )
        return int(port)

    def _info(self, _request: pb.InfoRequest, _context: grpc.ServicerContext) -> pb.InfoReply:
        from universe2 import __version__

        return pb.InfoReply(
            protocols=[PROTOCOL],
            version=__version__,
            features=FEATURES,
            slots_total=self.capacity.slots,
            # who spreads slots over servers leaves one that drains out
            slots_free=0 if self._draining.is_set() else self.capacity.slots_free,
            sessions_total=self.capacity.sessions,
            sessions_open=self.capacity.sessions_open,
            families=self.config.families or families(),
            max_message_bytes=self.config.max_message_bytes,
            max_frame_bytes=self.config.max_frame_bytes,
        )

    def _check(
        self, ask: health_pb2.HealthCheckRequest, context: grpc.ServicerContext
    ) -> health_pb2.HealthCheckResponse:
        if ask.service not in ("", SERVICE):
            context.abort(
                grpc.StatusCode.NOT_FOUND, f"there is no such service; there are '' and {SERVICE!r}"
            )
        draining = self._draining.is_set()
        status = health_pb2.HealthCheckResponse
        return status(status=status.NOT_SERVING if draining else status.SERVING)

    def _session(self, requests: Iterator[Message], context: grpc.ServicerContext) -> Iterator[bytes]:
        holder = holder_of(self._holders, context.invocation_metadata())
        who = who_calls(context, holder)
        try:
            share = Share() if holder is None else holder.share
            assembler = self._assembler(share)
            first = self._first(requests, assembler, context)
            if first is None:
                return
            if first.header.HasField("resume"):
                yield from self._taken_up(first.header, requests, context)
                return
            ask = first.header.open
            members = self._admit(ask)
            ticket = self.capacity.enter(
                sum(member.ask.num_slots for member in members),
                may_wait=ask.queue_seconds > 0,
                owner=who.holder,
                share=share,
            )
            try:
                yield from self._waited(ticket, ask.queue_seconds, context)
            except BaseException:
                ticket.leave()
                raise
            session = self._opened(first, members, assembler, ticket, who)
            if not context.is_active():  # the client left meanwhile, without the token to come back with
                session.close()
                return
            yield from session.stream(requests, context)
        except Exception as error:  # noqa: BLE001  told
            yield encode(_refusal(error, who))

    def _local_session(self, requests: Iterator[Message], caller: Caller) -> Iterator[bytes]:
        """The rest of a session, at the door."""
        try:
            with self._silence.of(caller):
                message = next(requests, None)
            if message is None:
                return
            first = decode(message)
            if not first.header.HasField("resume"):
                raise ProtocolError("a session can be taken up here, but not begun")
            yield from self._taken_up(first.header, requests, caller, caller.send)
        except Exception as error:  # noqa: BLE001  told
            yield encode(_refusal(error, Who("the local socket")))

    def _taken_up(
        self, header: pb.Header, requests: Iterator[Message], context: Hanger, send: Send | None = None
    ) -> Iterator[bytes]:
        session = self._known(header.session, header.resume.token)
        yield from session.stream(requests, context, header.resume, send)

    def _assembler(self, share: Share) -> Assembler:
        config = self.config
        return Assembler(
            min(share.frame_bytes or config.max_frame_bytes, config.max_frame_bytes),
            min(share.message_bytes or config.max_message_bytes, config.max_message_bytes),
            MAX_HEADER_BYTES,
        )

    def _watch(self, ask: pb.WatchRequest, context: grpc.ServicerContext) -> Iterator[bytes]:
        if not self._watching.acquire(blocking=False):
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{MAX_VIEWERS} viewers are watching already")
        try:
            yield from self._known(ask.session, ask.token).pictures(ask, context)
        except Universe2Error as error:
            yield encode(error_header(error))
        finally:
            self._watching.release()

    def _first(self, requests: Iterator[Message], assembler: Assembler, context: Hanger) -> Frame | None:
        """The first frame of a stream; None if it ends before. The reaper cuts streams that say nothing."""
        try:
            with self._silence.of(context):
                for message in requests:
                    frame = decode(message, MAX_HEADER_BYTES)
                    if frame.header.HasField("resume"):
                        return frame
                    whole = assembler.add(message)
                    if whole is None:
                        continue
                    if not whole.header.HasField("open"):
                        raise ProtocolError(
                            f"a session begins with open, not {whole.header.WhichOneof('body')}"
                        )
                    return whole
        except grpc.RpcError:
            return None
        return None

    def _admit(self, ask: pb.Open) -> list[Asked]:
        """What each member is asked to be; raises unless all may be opened here at all."""
        members = read_asks(ask)
        self._check_admitting()
        offered = self.config.families
        for family in (member.ask.env_id.split("/", 1)[0] for member in members):
            if offered and family not in offered:
                raise UnknownEnvError(
                    f"this server doesn't offer the family {family!r}, only {', '.join(offered)}"
                )
        return members

    def _waited(self, ticket: Ticket, seconds: float, context: grpc.ServicerContext) -> Iterator[bytes]:
        """Tell the client its place in the queue until it is served, or CapacityError."""
        began = time.monotonic()
        end = began + seconds
        while place := ticket.place:
            self._check_admitting()
            queued = pb.Queued(place=place, retry_after_seconds=self.capacity.retry_after(place))
            yield encode(pb.Header(queued=queued))
            ticket.wait(min(QUEUE_TELLS_SECONDS, max(end - time.monotonic(), 0.0)))
            if not context.is_active():
                raise ServerLostError("the client left the queue")
            if ticket.place and time.monotonic() >= end:
                raise CapacityError(
                    f"{ticket.count} slots did not become free within {seconds:.3g} s; "
                    f"place {ticket.place} in the queue",
                    self.capacity.retry_after(ticket.place),
                )
        self._check_admitting()
        self.metrics.slot_wait_seconds.observe(time.monotonic() - began)

    def _opened(
        self, first: Frame, members: Sequence[Asked], assembler: Assembler, ticket: Ticket, who: Who
    ) -> Session:
        session = Session(self.config, assembler, self.metrics, self._over)
        try:
            session.open(
                first, members, self._open_runtime, ticket.leave, who, self._openings, self._door.name
            )
            with self._lock:
                self._check_admitting()  # under the lock: later ones than this are told to drain
                self._sessions[session.id] = session
        except BaseException:
            session.close()
            raise
        return session

    def _known(self, name: str, token: bytes) -> Session:
        with self._lock:
            session = self._sessions.get(name)
        if session is None:
            raise ServerLostError(f"no session {name!r} is here: its lease is over, or the server began anew")
        session.check_token(token)
        return session

    def _over(self, session: Session) -> None:
        with self._lock:
            self._sessions.pop(session.id, None)

    def _reap(self) -> None:
        """Until the server stops: end sessions that said nothing for the length of their lease."""
        told: dict[str, float] = {}  # session → when it was told
        while not self._stopping.wait(0.25):
            self._silence.cut()
            with self._lock:
                sessions = list(self._sessions.values())
            told = {session.id: told[session.id] for session in sessions if session.id in told}
            for session in sessions:
                try:
                    self._hold_to_lease(session, told)
                except Exception:  # no thread is left, say: tried again, and the others' leases hold
                    log.exception("session %s can't be ended", session.id)

    def _hold_to_lease(self, session: Session, told: dict[str, float]) -> None:
        session.log_if_left()
        silent, now = session.silent, time.monotonic()
        if session.id in told:
            late = now - told[session.id]
            if late > HEAR_SECONDS:
                session.hang_up()  # it doesn't even read what it is told
            if late > 2 * HEAR_SECONDS:
                session.give_up()
        elif silent > session.lease:
            log.warning("session %s: silent for %.0f s, its lease is over", session.id, silent)
            session.end(ServerLostError(f"the session was silent for {silent:.0f} s; its lease is over"))
            told[session.id] = now
            self.metrics.reaped.inc()


def _refusal(error: Exception, who: Who) -> pb.Header:
    """What a stream is told that doesn't become a session's."""
    if isinstance(error, Universe2Error):
        text = f"{type(error).__name__}: {shortened(error)}"
        log.info("a stream from %s is refused: %s", who, text, extra=vars(who))
    else:
        log.error("a stream from %s failed", who, exc_info=error, extra=vars(who))
        error = failure(error)
    # It answers no frame in particular: perhaps none could be read.
    return pb.Header(sequence=1, error=error_header(error).error)


def serve_forever(
    server: Server,
    stop: threading.Event,
    announce: Callable[[Server], None],
    drain: threading.Event | None = None,
) -> None:
    """Start, announce, and serve until ``stop`` or ``drain`` is set; then stop, at once or when drained."""
    server.start()
    announce(server)
    try:
        while not stop.wait(0.2):
            if drain is not None and drain.is_set():
                server.drain(stop)
                return
    finally:
        server.stop()
