"""What runs in a worker process: one SlotHost in an asyncio loop, commands in, results out.

Started by ``universe2.runtimes.worker_pool``. It knows nothing of episodes' numbers, deadlines
or other workers; it dies when its parent does (end of file on the pipe, and SIGKILL from the
kernel should it be stuck).
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import faulthandler
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Coroutine
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from gymnasium import spaces

from universe2.core.batch import Fault, blame, check_info, checked_flag, checked_reward
from universe2.core.errors import Universe2Error, name_of
from universe2.core.host import InfrastructureFault, SlotHost
from universe2.core.seeding import next_seed
from universe2.core.spaces import unstack
from universe2.core.spec import EnvConfig, EnvSpec, load
from universe2.runtimes.shared import SlotMemory

_PR_SET_PDEATHSIG = 1
CLOSE_SECONDS = 5.0
"""How long a host may take to close before its process ends regardless."""


@dataclass(frozen=True)
class Setup:
    """The first message to a worker."""

    host: str
    spec: EnvSpec
    config: EnvConfig
    worker: int
    slots: list[int]
    num_slots: int
    num_workers: int
    observation_space: spaces.Space[Any]
    action_space: spaces.Space[Any]


@dataclass(frozen=True)
class Command:
    """``kind`` for several slots: "reset" (with seeds), "step" (with batched actions), "render"."""

    kind: str
    slots: list[int]
    seeds: list[int] = field(default_factory=list)
    actions: Any = None
    size: tuple[int, int] | None = None


@dataclass
class Result:
    """What became of one slot's command. ``loose`` are observation leaves of variable size."""

    slot: int
    kind: str
    reward: float = 0.0
    terminated: bool = False
    truncated: bool = False
    info: dict[str, Any] = field(default_factory=dict)
    loose: list[Any] = field(default_factory=list)
    ended: bool = False
    """the worker has reset the slot already; the three ``final`` parts count"""
    final_info: dict[str, Any] = field(default_factory=dict)
    final_loose: list[Any] = field(default_factory=list)
    fault: int = Fault.NONE
    text: str = ""
    late_fault: int = Fault.NONE
    """set if the reset after the end failed: the slot's next step is that fault"""
    late_text: str = ""
    value: Any = None
    """a rendered picture"""
    error: str = ""
    """class name of a Universe2Error, for "render" """


@dataclass(frozen=True)
class Reply:
    """The pickled list of Results of ``slots``, which are told beside it: unpickling it may fail."""

    slots: list[int]
    results: bytes


@dataclass(frozen=True)
class Ready:
    """The host has started."""


@dataclass(frozen=True)
class Failed:
    """The host could not start."""

    text: str


class Worker:
    """Carries out commands on one host."""

    def __init__(self, connection: Connection, setup: Setup, memory: SlotMemory) -> None:
        self._connection = connection
        self._setup = setup
        self._memory = memory
        self._seeds: dict[int, int] = {}
        self._same_step = setup.config.autoreset == "same_step"
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        setup = self._setup
        try:
            self._host: SlotHost = load(setup.host)(setup.spec, setup.config, list(setup.slots))
            await self._host.start()
        except Exception:  # noqa: BLE001 (reported to the parent)
            self._connection.send_bytes(pickle.dumps(Failed(traceback.format_exc())))
            return
        self._connection.send_bytes(pickle.dumps(Ready()))
        try:
            await (self._run_concurrent() if self._host.concurrent else self._run_serial())
        finally:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._host.close()

    async def _run_serial(self) -> None:
        """One reply per message. Reading blocks the loop, which has nothing else to do."""
        while (commands := self._read()) is not None:
            results = []
            for command in commands:
                for slot, action in self._parts(command):
                    results.append(await self._one(command, slot, action))
                    self._memory.progress[self._setup.worker] += 1
            self._reply(results)
            for result in results:
                if result.kind == "reset" or result.ended:
                    await self._prepare(result.slot)

    async def _run_concurrent(self) -> None:
        """One task and one reply per slot."""
        loop = asyncio.get_running_loop()
        over = asyncio.Event()

        def on_readable() -> None:
            if (commands := self._read()) is None:
                loop.remove_reader(self._connection.fileno())
                over.set()
                return
            for command in commands:
                for slot, action in self._parts(command):
                    self._start(self._one_and_reply(command, slot, action))

        loop.add_reader(self._connection.fileno(), on_readable)
        await over.wait()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _one_and_reply(self, command: Command, slot: int, action: Any) -> None:
        result = await self._one(command, slot, action)
        try:
            self._reply([result])
        except ConnectionError:
            return  # the parent has hung up in mid-step; the reader sees the end of file
        if result.kind == "reset" or result.ended:
            await self._prepare(slot)

    def _read(self) -> list[Command] | None:
        try:
            commands: list[Command] = pickle.loads(self._connection.recv_bytes())
        except (EOFError, ConnectionError):
            return None
        return commands

    def _parts(self, command: Command) -> list[tuple[int, Any]]:
        """(slot, its action or seed)."""
        if command.kind == "step":
            actions = unstack(self._setup.action_space, command.actions, len(command.slots))
            return list(zip(command.slots, actions, strict=True))
        return list(zip(command.slots, command.seeds or [0] * len(command.slots), strict=True))

    def _reply(self, results: list[Result]) -> None:
        try:
            body = pickle.dumps(results, pickle.HIGHEST_PROTOCOL)
        except Exception:  # noqa: BLE001 (whatever a user's object raises when pickled)
            body = pickle.dumps([_picklable(result) for result in results])
        reply = Reply([result.slot for result in results], body)
        self._connection.send_bytes(pickle.dumps(reply, pickle.HIGHEST_PROTOCOL))

    async def _one(self, command: Command, slot: int, argument: Any) -> Result:
        """Never raises: what the host raises becomes a fault of this slot."""
        result = Result(slot, command.kind)
        try:
            if command.kind == "reset":
                await self._reset(result, argument)
            elif command.kind == "step":
                await self._step(result, argument)
            else:
                result.value = await self._host.render(slot, command.size)
        except Exception as error:  # noqa: BLE001
            result = Result(slot, command.kind, fault=_blame(error), text=_told(error))
            if isinstance(error, Universe2Error):
                result.error, result.text = name_of(error), str(error)
        return result

    async def _reset(self, result: Result, seed: int) -> None:
        self._seeds[result.slot] = seed
        obs, result.info = await self._host.reset(result.slot, seed)
        check_info(result.info)
        result.loose = self._memory.write(self._memory.current, result.slot, obs)

    async def _step(self, result: Result, action: Any) -> None:
        obs, reward, terminated, truncated, info = await self._host.step(result.slot, action)
        check_info(info)
        result.reward, result.info = checked_reward(reward), info
        result.terminated = checked_flag("terminated", terminated)
        result.truncated = checked_flag("truncated", truncated)
        result.loose = self._memory.write(self._memory.current, result.slot, obs)
        if not (self._same_step and (result.terminated or result.truncated)):
            return
        result.ended = True
        result.final_info, result.final_loose = info, self._memory.write(self._memory.final, result.slot, obs)
        self._memory.resetting[result.slot] = True  # the reset's deadline holds from here
        try:
            await self._reset(result, next_seed(self._seeds[result.slot]))
        except Exception as error:  # noqa: BLE001
            result.info, result.late_fault, result.late_text = {}, _blame(error), _told(error)

    async def _prepare(self, slot: int) -> None:
        try:
            await self._host.prepare(slot, next_seed(self._seeds[slot]))
        except Exception:  # noqa: BLE001
            # Only a hint: if something is really wrong, the reset that follows says so.
            print(f"slot {slot}: preparing the next episode failed", file=sys.stderr)
            traceback.print_exc()


def _blame(error: Exception) -> int:
    return int(Fault.INFRASTRUCTURE if isinstance(error, InfrastructureFault) else blame(error))


def _told(error: Exception) -> str:
    if isinstance(error, InfrastructureFault):
        return str(error)  # the environment's code has no part in it
    return "".join(traceback.format_exception(error)).rstrip()


def _picklable(result: Result) -> Result:
    try:
        pickle.dumps(result)
    except Exception as error:  # noqa: BLE001
        text = f"the info or observation of slot {result.slot} can't be pickled: {error!r}"
        return Result(result.slot, result.kind, fault=int(Fault.ENVIRONMENT), text=text)
    return result


def main(connection_fd: int, memory_fd: int, parent: int) -> None:
    """The process' entry. Never returns."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    os.dup2(2, 1)  # what an environment prints must not end up in the parent's output
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    code = 1
    try:
        connection = Connection(connection_fd)
        setup: Setup = pickle.loads(connection.recv_bytes())
        with_final = setup.config.autoreset == "same_step"
        memory = SlotMemory(
            setup.observation_space, setup.num_slots, setup.num_workers, with_final, memory_fd
        )
        asyncio.run(Worker(connection, setup, memory).run())
        code = 0
    except SystemExit as exit_:
        code = exit_.code if isinstance(exit_.code, int) else 1
    except (EOFError, ConnectionError, TimeoutError):
        pass  # the parent is gone, or the host would not close
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()
        # Not sys.exit: threads or exit handlers of an environment must not keep the process.
        os._exit(code)
