"""WorkerPool: worker processes, their pipes, deadlines, deaths and restarts.

One thread (the pump) starts and ends the processes and reads all pipes; any thread may submit
and collect. The pool knows which slots are being worked on and which lost their state; it
doesn't know episodes, seeds or batches. Linux only.

Processes are started afresh (never forked: the parent has threads), outside multiprocessing:
no ``if __name__ == "__main__"`` is needed and there is no tracker process to leak.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import selectors
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection

import cloudpickle

from universe2.core.batch import Fault
from universe2.core.errors import ClosedError, Universe2Error
from universe2.core.spaces import take
from universe2.runtimes.process_tree import resident_bytes
from universe2.runtimes.shared import SlotMemory
from universe2.runtimes.worker_main import CLOSE_SECONDS, Command, Failed, Ready, Reply, Result, Setup

_LOOK_SECONDS = 0.5
"""How often the workers' memory is looked at."""
_EXIT_SECONDS = 1.0
"""How long a process that closed its pipe may take to exit by itself."""
_MAIN = "import sys; sys.path[:] = {path!r}; from universe2.runtimes.worker_main import main; main({args})"


@dataclass(frozen=True)
class Limits:
    """Deadlines in seconds, each for one slot; how many failures in a row end a worker for good.

    A worker that takes more than ``memory`` bytes is killed, like one that hangs. 0: half of what
    the machine has.
    """

    step: float = 60.0
    reset: float = 120.0
    start: float = 120.0
    max_failures: int = 3
    memory: int = 0

    @property
    def most_bytes(self) -> int:
        return self.memory or os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


@dataclass
class _Worker:
    index: int
    slots: list[int]
    process: subprocess.Popen[bytes] | None = None
    connection: Connection | None = None
    ready: bool = False
    failures: int = 0
    given_up: str = ""
    progress: int = 0
    due: dict[int, tuple[float, float]] = field(default_factory=dict)
    """slot being worked on → (when its result is due, its limit), in seconds"""
    kinds: dict[int, str] = field(default_factory=dict)


class WorkerPool:
    """Runs ``setup`` in ``len(assignment)`` workers; ``assignment[w]`` are the slots of worker w."""

    def __init__(
        self, setup: Setup, assignment: Sequence[list[int]], memory: SlotMemory, limits: Limits
    ) -> None:
        self._setup = setup
        self._memory = memory
        self._limits = limits
        self._workers = [_Worker(w, list(slots)) for w, slots in enumerate(assignment)]
        self._lost: dict[int, tuple[int, str]] = {}
        """slots whose episode is lost, for which nobody has been told yet"""
        self._arrived: list[Result] = []
        self._look_at = 0.0
        self._changed = threading.Condition()
        self._closed = False
        self._crash: BaseException | None = None
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe()
        self._selector.register(self._wake_read, selectors.EVENT_READ, None)
        # Workers are told by the kernel when the *thread* that started them ends, so that
        # must be one that lives as long as they do.
        self._pump = threading.Thread(target=self._run, name=f"pump {setup.spec.id}", daemon=True)
        self._pump.start()

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that run, for diagnosis."""
        with self._changed:
            return [w.process.pid for w in self._workers if w.process is not None]

    def submit(self, worker: int, commands: list[Command]) -> None:
        """Have ``worker`` carry out ``commands``. There will be one result per slot."""
        with self._changed:
            self._check_open()
            target = self._workers[worker]
            kept = [self._without_lost(command) for command in commands]
            kept = [command for command in kept if command.slots]
            if target.given_up:
                for command in kept:
                    for slot in command.slots:
                        self._fault(slot, command.kind, target.given_up)
            elif kept:
                self._send(target, kept)
            self._changed.notify_all()

    def collect(self, timeout: float | None, kinds: tuple[str, ...]) -> list[Result]:
        """The results of ``kinds`` that have arrived; empty if none did within ``timeout`` seconds."""
        limit = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while True:
                self._check_open()
                found = [r for r in self._arrived if r.kind in kinds]
                if found:
                    self._arrived = [r for r in self._arrived if r.kind not in kinds]
                    return found
                remaining = None if limit is None else limit - time.monotonic()
                if remaining is not None and remaining <= 0:
                    return []
                self._changed.wait(remaining)

    def put_back(self, results: Sequence[Result]) -> None:
        """What ``collect`` gave is to be collected once more."""
        with self._changed:
            self._arrived = [*results, *self._arrived]
            self._changed.notify_all()

    def close(self) -> None:
        """End all workers, gently for a few seconds and then not. May be called twice."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._wake()
        if threading.current_thread() is not self._pump:  # as it is if the collector closes us there
            self._pump.join(CLOSE_SECONDS + 5.0)

    # Sending

    def _check_open(self) -> None:
        if self._crash is not None:
            raise Universe2Error(f"the worker pool failed: {self._crash!r}") from self._crash
        if self._closed:
            raise ClosedError("the runtime is closed")

    def _without_lost(self, command: Command) -> Command:
        """Slots that lost their episode get their fault instead of a step; a reset starts anew."""
        lost = {slot: self._lost[slot] for slot in command.slots if slot in self._lost}
        if command.kind != "render":
            for slot in lost:
                del self._lost[slot]
        if not lost or command.kind == "reset":
            return command
        for slot, (fault, text) in lost.items():
            self._arrived.append(Result(slot, command.kind, fault=fault, text=text))
        rows = [row for row, slot in enumerate(command.slots) if slot not in lost]
        slots = [command.slots[row] for row in rows]
        if command.kind != "step":
            return replace(command, slots=slots)
        actions = take(self._setup.action_space, command.actions, rows)
        return replace(command, slots=slots, actions=actions)

    def _send(self, worker: _Worker, commands: list[Command]) -> None:
        now = time.monotonic()
        if not worker.due:
            worker.progress = int(self._memory.progress[worker.index])
        for command in commands:
            limit = self._limits.reset if command.kind == "reset" else self._limits.step
            self._memory.resetting[command.slots] = False
            due = now + limit if worker.ready else now + self._limits.start + limit
            worker.due.update(dict.fromkeys(command.slots, (due, limit)))
            worker.kinds.update(dict.fromkeys(command.slots, command.kind))
        if worker.connection is None:
            return
        # A broken pipe or a full one is noticed by the pump too, which turns it into faults.
        with contextlib.suppress(OSError):
            worker.connection.send_bytes(pickle.dumps(commands, pickle.HIGHEST_PROTOCOL))

    def _fault(self, slot: int, kind: str, text: str) -> None:
        self._arrived.append(Result(slot, kind, fault=int(Fault.INFRASTRUCTURE), text=text))

    # The pump

    def _run(self) -> None:
        try:
            with self._changed:
                for worker in self._workers:
                    self._spawn(worker)
            while not self._closed:
                for key, _ in self._selector.select(self._patience()):
                    if key.data is None:
                        os.read(self._wake_read, 4096)
                    else:
                        self._read(self._workers[key.data])
                self._end_overdue()
                self._end_hungry()
        except BaseException as error:  # noqa: BLE001 (told to whoever collects next)
            self._crash = error
        finally:
            self._shut()

    def _patience(self) -> float:
        """Seconds until a deadline can pass, also one of a command that is sent meanwhile."""
        now = time.monotonic()
        with self._changed:
            dues = [due for worker in self._workers for due, _ in worker.due.values()]
        return max(0.0, min([_LOOK_SECONDS, self._limits.step, self._limits.reset, *(d - now for d in dues)]))

    def _spawn(self, worker: _Worker) -> None:
        ours, theirs = socket.socketpair()
        # Neither side waits for ever on a pipe whose other end is stuck.
        seconds = struct.pack("ll", int(max(1.0, self._limits.step)), 0)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, seconds)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, seconds)
        memory_fd = self._memory.fd
        path = [os.fspath(entry) for entry in sys.path if isinstance(entry, (str, os.PathLike))]
        code = _MAIN.format(path=path, args=f"{theirs.fileno()}, {memory_fd}, {os.getpid()}")
        worker.ready = False
        worker.connection = Connection(ours.detach())
        self._selector.register(worker.connection.fileno(), selectors.EVENT_READ, worker.index)
        try:
            worker.process = subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), memory_fd),
                start_new_session=True,
            )
            setup = replace(self._setup, worker=worker.index, slots=worker.slots)
            worker.connection.send_bytes(cloudpickle.dumps(setup))
        except OSError as error:
            theirs.close()
            self._bury(worker, f"its process could not be started: {error!r}")
            return
        theirs.close()

    def _read(self, worker: _Worker) -> None:
        if worker.connection is None:
            return
        try:
            message = pickle.loads(worker.connection.recv_bytes())
        except (EOFError, OSError) as error:
            with self._changed:
                self._bury(worker, "" if isinstance(error, (EOFError, ConnectionError)) else repr(error))
            return
        results = self._loaded(worker, message) if isinstance(message, Reply) else []
        with self._changed:
            if isinstance(message, Ready):
                worker.ready = True
                now = time.monotonic()
                worker.due = {slot: (now + limit, limit) for slot, (_, limit) in worker.due.items()}
            elif isinstance(message, Failed):
                self._bury(worker, f"it could not start:\n{message.text}")
            else:
                self._deliver(worker, results)
            self._changed.notify_all()

    def _loaded(self, worker: _Worker, reply: Reply) -> list[Result]:
        try:
            results: list[Result] = pickle.loads(reply.results)
        except Exception as error:  # noqa: BLE001 (whatever a user's object raises when unpickled)
            text = (
                f"worker {worker.index} of {self._setup.spec.id}: its results of slots {reply.slots} can't "
                f"be unpickled: {error!r}. Does an info hold an object, such as an exception, that can "
                "be pickled but not made again?"
            )
            fault = int(Fault.ENVIRONMENT)
            return [Result(slot, worker.kinds[slot], fault=fault, text=text) for slot in reply.slots]
        return results

    def _deliver(self, worker: _Worker, results: list[Result]) -> None:
        for result in results:
            worker.due.pop(result.slot, None)
            if result.kind == "step" and not result.fault:
                worker.failures = 0
            if result.late_fault:
                self._lost[result.slot] = (result.late_fault, result.late_text)
            self._arrived.append(result)

    def _end_overdue(self) -> None:
        now = time.monotonic()
        with self._changed:
            for worker in self._workers:
                overdue = [slot for slot, (due, _) in worker.due.items() if due <= now]
                if not overdue or self._granted(worker, overdue, now):
                    continue
                slot = overdue[0]
                doing = f"{worker.kinds[slot]} of slot {slot}" if worker.ready else "its start"
                limit = worker.due[slot][1] if worker.ready else self._limits.start
                hint = ""
                if worker.ready and self._setup.config.options.get("expert"):
                    hint = "; the task's solver runs there too (option expert): does it come to an end?"
                self._bury(worker, f"{doing} took longer than {limit:g} s, so it was killed{hint}", kill=True)

    def _end_hungry(self) -> None:
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + _LOOK_SECONDS
        most = self._limits.most_bytes
        with self._changed:
            for worker in self._workers:
                taken = 0 if worker.process is None else resident_bytes([worker.process.pid])
                if taken > most:
                    text = f"it took {taken / 2**20:,.0f} MiB of memory, more than {most / 2**20:,.0f}"
                    self._bury(worker, f"{text}, so it was killed (does the environment leak?)", kill=True)

    def _granted(self, worker: _Worker, overdue: list[int], now: float) -> bool:
        """Whether the overdue slots have a right to more time, which they then get."""
        if not worker.ready:
            return False
        progress = int(self._memory.progress[worker.index])
        if progress != worker.progress:
            # A serial worker replies once for several slots; it isn't stuck while it gets on.
            worker.progress = progress
            worker.due = {s: (now + limit, limit) for s, (_, limit) in worker.due.items()}
            return True
        resetting = self._memory.resetting
        if not all(resetting[slot] for slot in overdue):
            return False
        for slot in overdue:
            resetting[slot] = False
            worker.due[slot] = (now + self._limits.reset, self._limits.reset)
        return True

    def _bury(self, worker: _Worker, cause: str, kill: bool = False) -> None:
        """A worker is dead or must be: faults for its slots, and a new process at once."""
        ending = self._end(worker, 0.0 if kill or cause else _EXIT_SECONDS)
        text = f"worker {worker.index} of {self._setup.spec.id}: {cause or ending}"
        worker.failures += 1
        if worker.failures >= self._limits.max_failures:
            worker.given_up = (
                f"{text}\nThat was failure {worker.failures} in a row without one successful step: "
                f"worker {worker.index} (slots {worker.slots}) is given up. Open the runtime again to retry."
            )
        text = worker.given_up or text
        for slot in worker.slots:
            if slot in worker.due:
                self._fault(slot, worker.kinds[slot], text)
                self._lost.pop(slot, None)
            else:
                self._lost[slot] = (int(Fault.INFRASTRUCTURE), text)
        worker.due = {}
        self._changed.notify_all()
        if not worker.given_up and not self._closed:
            self._spawn(worker)

    def _end(self, worker: _Worker, patience: float) -> str:
        """Close the pipe, wait ``patience`` seconds, kill the process group; how the process ended."""
        if worker.connection is not None:
            self._selector.unregister(worker.connection.fileno())
            worker.connection.close()
            worker.connection = None
        process, worker.process = worker.process, None
        if process is None:
            return "it never ran"
        _wait_unreaped(process.pid, patience)
        # Before it is reaped, so that its number can't be another's; its children go with it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        code = process.wait(10.0)
        if code < 0:
            return f"its process was killed by {signal.Signals(-code).name}"
        return f"its process exited with code {code} (did the environment call sys.exit?)"

    def _shut(self) -> None:
        limit = time.monotonic() + CLOSE_SECONDS
        with self._changed:
            self._closed = True
            for worker in self._workers:
                if worker.connection is not None:
                    with contextlib.suppress(OSError):
                        _hang_up(worker.connection)
            for worker in self._workers:
                self._end(worker, limit - time.monotonic())
            self._selector.close()
            os.close(self._wake_read)
            os.close(self._wake_write)
            self._memory.close()
            self._changed.notify_all()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # the pump has ended already
            os.write(self._wake_write, b"x")


def _hang_up(connection: Connection) -> None:
    """Let the other side read end-of-file, so that all workers close at the same time."""
    with socket.socket(fileno=os.dup(connection.fileno())) as end:
        end.shutdown(socket.SHUT_RDWR)


def _wait_unreaped(pid: int, seconds: float) -> None:
    """Wait until the process has exited, or ``seconds`` have passed, without reaping it."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        select.select([descriptor], [], [], max(0.0, seconds))
    finally:
        os.close(descriptor)
