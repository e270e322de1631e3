"""From what a user names on the command line to a policy, and what identifies it.

Three kinds: ``random``; a checkpoint's path; ``module:function``, a function without arguments
that returns a Policy. This file doesn't know what a checkpoint holds.
"""

from __future__ import annotations

import hashlib
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from universe2.agents.policy import Policy, RandomPolicy
from universe2.core.errors import UsageError
from universe2.core.shell import look_here
from universe2.core.spec import load
from universe2.trace import Run

_LOADER = "universe2.agents.checkpoint_policy:load"
_AT_TEMPERATURE = " at temperature "
_NATIVE = " through the native interface"


@dataclass(frozen=True)
class LoadedPolicy:
    """A policy and where it came from."""

    policy: Policy
    kind: Literal["random", "checkpoint", "python"]
    source: str
    """what was named, and how it plays if not as usual"""
    hash: str
    """16 hex digits over the checkpoint's file or the module's source; "" for random"""


def load_policy(
    name: str, interface: Literal["native", "screen"] = "screen", temperature: float = 1.0
) -> LoadedPolicy:
    """``interface`` is for ``random`` only: other policies say themselves what they need.

    ``temperature`` (0 or more) is for checkpoints only; see CheckpointPolicy. Raises UsageError
    if nothing of that name can be found, or for a temperature that means nothing.
    """
    if not temperature >= 0:
        raise UsageError(f"the temperature must be 0 or more, got {temperature}")
    if temperature != 1 and not Path(name).exists():
        raise UsageError(f"a temperature is for checkpoints; {name} draws its actions itself")
    if name == "random":
        source = name if interface == "screen" else name + _NATIVE
        return LoadedPolicy(RandomPolicy(interface), "random", source, "")
    path = Path(name)
    if path.exists():
        policy = load(_LOADER)(name, temperature)
        source = name if temperature == 1 else f"{name}{_AT_TEMPERATURE}{temperature:g}"
        return LoadedPolicy(policy, "checkpoint", source, _hash_of(policy.path))
    if ":" in name:
        return _load_python(name)
    raise UsageError(
        f"no policy {name!r}: it is not `random`, not the path of a checkpoint, and not `module:function`"
    )


def manner(run: Run) -> str:
    """What else than its bytes makes the policy of a run: the temperature, the interface, the function."""
    if run.kind == "checkpoint":
        before, _, temperature = run.policy.rpartition(_AT_TEMPERATURE)
        return f"temperature {temperature if before else 1}"
    if run.kind == "random":
        return "native interface" if run.policy.endswith(_NATIVE) else "screen interface"
    return run.policy


def _load_python(name: str) -> LoadedPolicy:
    module_name, _, function_name = name.partition(":")
    here = look_here()
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise UsageError(f"policy {name}: can't import it: {error} (looked in {here}, too)") from None
    function = getattr(module, function_name, None)
    if not callable(function):
        raise UsageError(f"policy {name}: {module_name} has no function {function_name!r}")
    policy = function()
    missing = [
        part for part in ("name", "interface", "screen_size", "begin", "act") if not hasattr(policy, part)
    ]
    if missing:
        raise UsageError(
            f"policy {name}: what it returned lacks {', '.join(missing)}; see universe2.agents.policy"
        )
    source = getattr(module, "__file__", None)
    return LoadedPolicy(policy, "python", name, _hash_of(Path(source)) if source else "")


def _hash_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
