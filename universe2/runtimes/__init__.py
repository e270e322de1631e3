"""Runtimes: what drives environments, each kind in its best way. ``open_runtime`` opens one.

This layer knows processes, threads and browsers; it doesn't know gRPC or torch.
"""

from __future__ import annotations

import inspect
from typing import Any, Literal

from universe2.core.errors import UsageError
from universe2.core.files import hint
from universe2.core.registry import find
from universe2.core.runtime import Runtime
from universe2.core.spec import EnvConfig, EnvSpec, load

Device = Literal["cpu", "cuda"]

RUNTIMES = {
    "compiled": "universe2.runtimes.compiled:CompiledRuntime",
    "match": "universe2.runtimes.match:MatchRuntime",
    "native": "universe2.runtimes.native:NativeRuntime",
    "process": "universe2.runtimes.process:ProcessRuntime",
    "browser": "universe2.runtimes.browser:BrowserRuntime",
}
"""Name → class, called with (spec, num_slots, config). A spec may also name "module:Class"."""


CUDA = {"compiled": "universe2.runtimes.cuda:CudaRuntime"}
"""The runtimes that also run on a CUDA device."""


def open_runtime(
    spec: EnvSpec | str,
    num_slots: int,
    config: EnvConfig | None = None,
    device: Device = "cpu",
    *,
    together: bool = False,
) -> Runtime:
    """Open ``num_slots`` slots of an environment on this machine.

    ``together``: where there are worker processes, one for all slots in place of one per core.
    Raises UnknownEnvError, MissingDependencyError, UsageError (options, number of slots, device).
    """
    spec = find(spec) if isinstance(spec, str) else spec
    config = config or EnvConfig()
    if num_slots < 1:
        raise UsageError(f"num_slots must be at least 1, got {num_slots}")
    if config.lossy:
        raise UsageError(
            f"pictures have losses ({config.lossy}) only on their way from a server; leave it out"
        )
    spec.resolve(config.options)
    spec.check_runnable()
    if device not in ("cpu", "cuda"):
        raise UsageError(f'device must be "cpu" or "cuda", got {device!r}')
    if device == "cuda" and spec.runtime not in CUDA:
        raise UsageError(f"{spec.id} does not run on CUDA: only single-player arcade games do")
    found = CUDA[spec.runtime] if device == "cuda" else _class_of(spec)
    kind = load(found)
    arguments = {"slots_per_worker": num_slots} if together and _has_workers(kind) else {}
    runtime: Runtime = kind(spec, num_slots, config, **arguments)
    return runtime


def _has_workers(kind: Any) -> bool:
    """Is it a WorkerRuntime that can be told ``slots_per_worker``? One of somebody's own may not."""
    from universe2.runtimes.workers import WorkerRuntime

    if not (isinstance(kind, type) and issubclass(kind, WorkerRuntime)):
        return False
    parameters = inspect.signature(kind).parameters
    others = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())
    return "slots_per_worker" in parameters or others


def _class_of(spec: EnvSpec) -> str:
    """``module:Class`` of the spec's runtime. Raises UsageError for a name that none has."""
    if spec.runtime in RUNTIMES or ":" in spec.runtime:
        return RUNTIMES.get(spec.runtime, spec.runtime)
    names = ", ".join(sorted(RUNTIMES))
    raise UsageError(
        f"{spec.id}: no runtime {spec.runtime!r}.{hint(spec.runtime, RUNTIMES)} "
        f"There are {names}, or module:Class"
    )
