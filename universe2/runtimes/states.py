"""StateFormat: the envelope around a slot's state, so that only the right runtime opens it.

No pickle: a header of fixed size, then the state. It doesn't know what a state holds.
"""

from __future__ import annotations

import hashlib
import struct
from typing import NamedTuple

from universe2.core.errors import UsageError

_HEADER = struct.Struct("<4sH16s16sqqB16s")
_MAGIC, _VERSION = b"U2ST", 2


class SlotState(NamedTuple):
    """A slot between two steps."""

    step: int
    seed: int
    ending: int
    """how its episode ended, in the runtime's own numbers; 0 if it goes on"""
    body: bytes


class StateFormat:
    """``rules`` names everything besides the spec hash that a state depends on.

    ``endings`` is how many numbers the runtime has for an ending, ``body_bytes`` the size of a body
    (None: any).
    """

    def __init__(
        self, env_id: str, spec_hash: str, rules: str, endings: int, body_bytes: int | None = None
    ) -> None:
        self._env_id, self._spec_hash = env_id, spec_hash.encode()
        self._endings, self._body_bytes = endings, body_bytes
        self._rules = hashlib.sha256(rules.encode()).hexdigest()[:16].encode()

    def pack(self, state: SlotState) -> bytes:
        numbers = (state.step, state.seed, state.ending)
        header = _HEADER.pack(_MAGIC, _VERSION, self._spec_hash, self._rules, *numbers, _checksum(state.body))
        return header + state.body

    def unpack(self, data: bytes) -> SlotState:
        """The inverse of ``pack``; UsageError if it is damaged, of another spec or other rules, or made up.

        What the body says is checked by nobody: a state is to be had from who can be trusted.
        """
        if len(data) < _HEADER.size or data[:4] != _MAGIC:
            raise UsageError(f"not a snapshot of {self._env_id}: {len(data)} bytes, header {data[:4]!r}")
        _, version, spec_hash, rules, step, seed, ending, checksum = _HEADER.unpack(data[: _HEADER.size])
        if version != _VERSION:
            raise UsageError(f"the snapshot has format {version}, this is format {_VERSION}")
        if (spec_hash, rules) != (self._spec_hash, self._rules):
            raise UsageError(
                f"the snapshot is of spec {spec_hash.decode(errors='replace')} with rules "
                f"{rules.decode(errors='replace')}, this runtime is {self._env_id} with spec "
                f"{self._spec_hash.decode()} and rules {self._rules.decode()}"
            )
        body = bytes(data[_HEADER.size :])
        if _checksum(body) != checksum:
            raise UsageError(f"the snapshot of {self._env_id} is damaged: its checksum is wrong")
        if wrong := self._wrong(step, seed, ending, len(body)):
            raise UsageError(
                f"no snapshot of {self._env_id} has {wrong}: it was not made by snapshot(), or changed since"
            )
        return SlotState(step, seed, ending, body)

    def _wrong(self, step: int, seed: int, ending: int, size: int) -> str:
        """What no state can have, if there is something."""
        if step < 0:
            return f"step {step}, below 0"
        if seed < 0:
            return f"seed {seed}, below 0"
        if ending >= self._endings:
            return f"ending {ending}, where there are 0 to {self._endings - 1}"
        if self._body_bytes is not None and size != self._body_bytes:
            return f"a body of {size} bytes, where it has {self._body_bytes}"
        return ""


def _checksum(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()[:16]
