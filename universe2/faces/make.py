"""``make``, ``make_vec``, ``make_parallel``, ``make_pool``, ``open_runtime``: an id, and where it should run.

Keyword arguments that aren't named here are the family's own options (``spec.options``).
"""

from __future__ import annotations

import contextlib
import dataclasses
import operator
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec as GymSpec
from gymnasium.vector import AutoresetMode

from universe2.core.errors import UsageError
from universe2.core.files import read_token
from universe2.core.runtime import Runtime
from universe2.core.spec import EnvConfig, EnvSpec, Interface
from universe2.faces.env import RuntimeEnv
from universe2.faces.one_slot import OnFault
from universe2.faces.pool import Pool
from universe2.faces.vector import RuntimeVectorEnv

if TYPE_CHECKING:
    from universe2.faces.parallel import RuntimeParallelEnv

Remotes = str | Sequence[str] | None
_SCREEN_SIZE = EnvConfig.screen_size


def open_runtime(
    env: str | EnvSpec,
    num_slots: int,
    config: EnvConfig | None = None,
    *,
    remotes: Remotes = None,
    token: str | None = None,
    wait: float = 90.0,
    max_faults: int | None = None,
    codec: str | Sequence[str] = "auto",
    device: Literal["cpu", "cuda"] = "cpu",
) -> Runtime:
    """``num_slots`` slots of an environment, on this machine or spread over ``remotes``.

    ``remotes``: one ``"host:port"`` or several (an empty one is an error, None means here); ``token`` is
    what the servers ask for;
    ``wait``: for how many seconds to wait for servers that are full, in their queue (a client that
    died holds its slots for a minute); ``max_faults``: after how many faults in a row a server restarts
    a slot no more (None: as it is set to); ``codec``: how observations travel, see ``open_remote``.
    ``device="cuda"``: arcade games on this machine's GPU, whose frames stay there. Raises
    UnknownEnvError, MissingDependencyError, UsageError, ServerLostError, AuthenticationError,
    CapacityError, VersionError.
    """
    config = config or EnvConfig()
    num_slots = _whole("num_slots", num_slots)
    if remotes is not None:
        if device != "cpu":
            raise UsageError("remote environments run on their servers' CPUs; leave device= out")
        from universe2.client import open_remote

        env = env.removeprefix("universe2:") if isinstance(env, str) else env
        return open_remote(
            env, num_slots, config, _addresses(remotes), token, wait=wait, max_faults=max_faults, codec=codec
        )
    given = {
        "token": token is not None,
        "codec": codec not in ("auto", "raw"),
        "max_faults": max_faults is not None,
    }
    for name in (name for name, is_given in given.items() if is_given):
        raise UsageError(f"a {name} was given but no remote; did you forget remote=?")
    from universe2.runtimes import open_runtime as open_local

    return open_local(env, num_slots, config, device)


def make(
    env_id: str,
    *,
    remote: Remotes = None,
    token: str | None = None,
    wait: float = 90.0,
    max_faults: int | None = None,
    codec: str | Sequence[str] = "auto",
    interface: Interface = "native",
    screen_size: tuple[int, int] = _SCREEN_SIZE,
    render_mode: str | None = None,
    render_size: tuple[int, int] | None = None,
    on_fault: OnFault = "raise",
    **options: Any,
) -> RuntimeEnv:
    """One environment as a ``gymnasium.Env``; see RuntimeEnv."""
    config = _config(interface, screen_size, "disabled", options)
    runtime = open_runtime(
        env_id, 1, config, remotes=remote, token=token, wait=wait, max_faults=max_faults, codec=codec
    )
    with _closed_if_raising(runtime):
        refuse_several(runtime)
        env = RuntimeEnv(runtime, render_mode, on_fault, render_size)
        env.remotes = _addresses(remote)
        asked = {"remote": remote, "interface": interface, "screen_size": config.screen_size}
        asked |= {"render_mode": render_mode, "render_size": env.render_size, "on_fault": on_fault}
        env.spec = _gymnasium_spec(runtime.spec.id, {**asked, **options})
        return env


# Gymnasium looks here for what it may wrap for "human" and "rgb_array_list".
make.metadata = RuntimeEnv.metadata  # type: ignore[attr-defined]


def make_vec(
    env_id: str,
    num_envs: int = 1,
    *,
    remotes: Remotes = None,
    remote: Remotes = None,
    token: str | None = None,
    wait: float = 90.0,
    max_faults: int | None = None,
    codec: str | Sequence[str] = "auto",
    interface: Interface = "native",
    screen_size: tuple[int, int] = _SCREEN_SIZE,
    autoreset: AutoresetMode | str = "next_step",
    autoreset_mode: AutoresetMode | str | None = None,
    render_mode: str | None = None,
    render_size: tuple[int, int] | None = None,
    copy: bool = True,
    on_fault: OnFault = "truncate",
    **options: Any,
) -> RuntimeVectorEnv:
    """``num_envs`` environments as a ``gymnasium.vector.VectorEnv``; see RuntimeVectorEnv.

    ``autoreset_mode`` is ``autoreset`` by Gymnasium's name.
    """
    servers = _either(remote, remotes)
    if autoreset_mode is not None and autoreset != "next_step":
        raise UsageError("give autoreset= or autoreset_mode=, not both")
    mode = _mode(autoreset if autoreset_mode is None else autoreset_mode)
    config = _config(interface, screen_size, mode, options)
    count = _whole("num_envs", num_envs)
    runtime = open_runtime(
        env_id, count, config, remotes=servers, token=token, wait=wait, max_faults=max_faults, codec=codec
    )
    with _closed_if_raising(runtime):
        refuse_several(runtime)
        envs = RuntimeVectorEnv(runtime, copy, on_fault, render_mode, render_size)
        envs.remotes = _addresses(servers)
        return envs


def make_parallel(
    env_id: str,
    *,
    remote: Remotes = None,
    remotes: Remotes = None,
    token: str | None = None,
    wait: float = 90.0,
    max_faults: int | None = None,
    codec: str | Sequence[str] = "auto",
    interface: Interface = "native",
    screen_size: tuple[int, int] = _SCREEN_SIZE,
    render_mode: str | None = None,
    render_size: tuple[int, int] | None = None,
    on_fault: OnFault = "raise",
    **options: Any,
) -> RuntimeParallelEnv:
    """One environment of several agents as a ``pettingzoo.ParallelEnv``; see RuntimeParallelEnv."""
    from universe2.faces.parallel import RuntimeParallelEnv

    servers = _either(remote, remotes)
    config = _config(interface, screen_size, "disabled", options)
    runtime = open_runtime(
        env_id, 1, config, remotes=servers, token=token, wait=wait, max_faults=max_faults, codec=codec
    )
    with _closed_if_raising(runtime):
        env = RuntimeParallelEnv(runtime, render_mode, on_fault, render_size)
        env.remotes = _addresses(servers)
        return env


def make_pool(
    slots: Mapping[str, int],
    *,
    remotes: Remotes = None,
    token: str | None = None,
    wait: float = 90.0,
    max_faults: int | None = None,
    codec: str | Sequence[str] = "auto",
    interface: Interface = "screen",
    screen_size: tuple[int, int] = _SCREEN_SIZE,
    autoreset: AutoresetMode | str = "same_step",
    options: Mapping[str, Mapping[str, Any]] | None = None,
    **unknown: Any,
) -> Pool:
    """Many tasks as one Pool: ``slots`` maps ids to how many slots; ``options`` ids to theirs.

    On ``remotes`` they share one session per server, which has room for all of them or is waited for.
    """
    if not isinstance(slots, Mapping):
        raise UsageError(
            f'slots maps ids to how many slots, as in {{"arcade/Maze-v0": 8}}; got {slots!r:.120}'
        )
    if unknown:
        raise UsageError(
            f"make_pool has no argument {', '.join(map(repr, unknown))}; options of environments go by their "
            f"ids: options={dict.fromkeys(list(slots)[:1], unknown)}"
        )
    counts = {env_id: _whole(f"slots[{env_id!r}]", count) for env_id, count in slots.items()}
    options = options or {}
    if absent := set(options) - set(slots):
        raise UsageError(f"options for {sorted(absent)}, which the pool doesn't hold")
    mode = _mode(autoreset)
    configs = {env_id: _config(interface, screen_size, mode, options.get(env_id, {})) for env_id in slots}
    opened: list[Runtime] = []
    try:
        if remotes is not None and slots:
            from universe2.client import open_together

            wanted = [
                (env_id.removeprefix("universe2:"), counts[env_id], configs[env_id]) for env_id in slots
            ]
            opened += open_together(
                wanted, _addresses(remotes), token, wait=wait, max_faults=max_faults, codec=codec
            )
        else:
            for env_id, count in counts.items():
                opened.append(
                    open_runtime(
                        env_id, count, configs[env_id], token=token, max_faults=max_faults, codec=codec
                    )
                )
        for runtime in opened:
            refuse_several(runtime)
        pool = Pool(list(zip(slots, opened, strict=True)))
        pool.remotes = _addresses(remotes)
        return pool
    except BaseException:
        for runtime in opened:
            runtime.close()
        raise


def _whole(name: str, count: Any) -> int:
    """``count`` as an int; raises UsageError unless it is a whole number."""
    try:
        return operator.index(count)
    except TypeError:
        raise UsageError(f"{name} must be a whole number, got {count!r:.120}") from None


def _gymnasium_spec(env_id: str, asked: Mapping[str, Any]) -> GymSpec | None:
    """What ``gym.make`` makes another from, None if it doesn't know the id.

    Without what it would wrap around, as in what it sets itself. Without a token: datasets keep specs.
    """
    known = gym.registry.get(env_id)
    if known is None or known.kwargs.get("env_id") != env_id:
        return None
    usual = make.__kwdefaults__ or {}
    chosen = {name: value for name, value in asked.items() if name not in usual or value != usual[name]}
    return dataclasses.replace(
        known, order_enforce=False, disable_env_checker=True, kwargs={**known.kwargs, **chosen}
    )


def _config(
    interface: Interface, screen_size: tuple[int, int], autoreset: Any, options: Mapping[str, Any]
) -> EnvConfig:
    """Refuses ``options={…}``, which is how EnvConfig takes them, and a ``screen_size`` without a screen."""
    if isinstance(inner := options.get("options"), Mapping):
        keywords = ", ".join(f"{name}={value!r}" for name, value in inner.items())
        raise UsageError(f"pass options as keywords: {keywords or 'none here'}, without options=")
    config = EnvConfig(interface=interface, screen_size=screen_size, autoreset=autoreset, options=options)
    if interface == "native" and config.screen_size != _SCREEN_SIZE:
        raise UsageError(
            f'screen_size={screen_size} has no effect under interface="native"; give interface="screen", '
            "or an option of the environment's own, such as size"
        )
    return config


def _addresses(remotes: Remotes) -> list[str]:
    if remotes is None:
        return []
    return [remotes] if isinstance(remotes, str) else list(remotes)


@contextlib.contextmanager
def _closed_if_raising(runtime: Runtime) -> Iterator[None]:
    try:
        yield
    except BaseException:
        runtime.close()
        raise


def refuse_several(runtime: Runtime) -> None:
    """A reward of one agent is not the sum of several's: raise UsageError, which says what to do."""
    spec = runtime.spec
    if spec.multi_agent:
        raise UsageError(
            f"{spec.id} has several agents: open it with universe2.make_parallel({spec.id!r}), "
            "or many of it at once with universe2.open_runtime"
        )


def token_from(path: str | Path | None) -> str | None:
    """The servers' token in the file ``path``; None for no file. Raises UsageError if it holds none."""
    return read_token(path) if path else None


def _either(remote: Remotes, remotes: Remotes) -> Remotes:
    """Two names of one argument."""
    if remote is not None and remotes is not None:
        raise UsageError("give remotes= or remote=, not both")
    return remotes if remote is None else remote


def _mode(autoreset: AutoresetMode | str) -> Any:
    """Gymnasium's enum, its value ("SameStep") or our name for it → our name."""
    with contextlib.suppress(ValueError):
        return AutoresetMode(autoreset).name.lower()
    return autoreset
