"""The exception tree. Every error that universe2 raises on purpose is one of these.

    Universe2Error                       gRPC code
    ├── UsageError                       INVALID_ARGUMENT
    │   ├── InvalidActionError           INVALID_ARGUMENT
    │   ├── InvalidSeedError             INVALID_ARGUMENT
    │   ├── InterfaceError               INVALID_ARGUMENT
    │   └── IdleError                    INVALID_ARGUMENT
    ├── UnknownEnvError                  NOT_FOUND
    ├── MissingDependencyError           FAILED_PRECONDITION
    ├── UnsupportedError                 UNIMPLEMENTED
    ├── ClosedError                      CANCELLED
    ├── CapacityError                    RESOURCE_EXHAUSTED
    ├── AuthenticationError              UNAUTHENTICATED
    ├── VersionError                     FAILED_PRECONDITION
    ├── ProtocolError                    DATA_LOSS
    ├── DeadlineError                    DEADLINE_EXCEEDED
    ├── ServerLostError                  UNAVAILABLE
    ├── FaultError                       ABORTED
    └── TrainingError                    ABORTED

A message says what was wrong, the value, and the likely cause. This file knows the
*names* of the gRPC codes, so that server and client agree on them, but not gRPC itself.
"""

from __future__ import annotations


class Universe2Error(Exception):
    """Root of the tree."""

    code: str = "INTERNAL"
    slots: tuple[int, ...] = ()
    """Only if ``Runtime.recv`` raised it: what was asked of these slots was refused. They are as before."""


class UsageError(Universe2Error, ValueError):
    """The caller passed something that can't be right; nothing was stepped."""

    code = "INVALID_ARGUMENT"


class InvalidActionError(UsageError):
    """An action of the wrong shape, dtype or range. No slot was stepped."""


class InvalidSeedError(UsageError):
    """A seed that the environment could not honour."""


class InterfaceError(UsageError):
    """The environment doesn't offer the interface that was asked for."""


class IdleError(UsageError):
    """Something was to be received and no slot is busy: nothing can come."""


class UnknownEnvError(Universe2Error, LookupError):
    """No provider knows the id."""

    code = "NOT_FOUND"


class MissingDependencyError(Universe2Error):
    """An optional package or program is not installed; the message says how to get it."""

    code = "FAILED_PRECONDITION"


class UnsupportedError(Universe2Error):
    """The runtime can't do this (for example snapshots of a browser)."""

    code = "UNIMPLEMENTED"


class ClosedError(Universe2Error):
    """The runtime, session or face was closed."""

    code = "CANCELLED"


class CapacityError(Universe2Error):
    """The server has too few free slots. ``retry_after``: when it might have, in seconds; 0: unknown."""

    code = "RESOURCE_EXHAUSTED"

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class AuthenticationError(Universe2Error):
    """The token is missing or wrong."""

    code = "UNAUTHENTICATED"


class VersionError(Universe2Error):
    """Client and server speak different versions of the wire contract."""

    code = "FAILED_PRECONDITION"


class ProtocolError(Universe2Error):
    """The other side sent something that the wire contract forbids."""

    code = "DATA_LOSS"


class DeadlineError(Universe2Error, TimeoutError):
    """Nothing arrived before the deadline."""

    code = "DEADLINE_EXCEEDED"


class ServerLostError(Universe2Error, ConnectionError):
    """The server is gone or can't be reached."""

    code = "UNAVAILABLE"


class FaultError(Universe2Error):
    """A slot had a fault and the face was told to raise (``on_fault="raise"``)."""

    code = "ABORTED"


class TrainingError(Universe2Error):
    """Training cannot go on: a loss that is not finite, or a checkpoint that can't be used."""

    code = "ABORTED"


def name_of(error: Universe2Error) -> str:
    """How another process is told of ``error``: by its class in this file, or the nearest above it."""
    return next(cls.__name__ for cls in type(error).__mro__ if cls.__module__ == __name__)


def error_named(name: str, message: str) -> Universe2Error:
    """The error of this file's class ``name`` (as sent over the wire), or the root class if it is unknown."""
    cls = globals().get(name)
    if isinstance(cls, type) and issubclass(cls, Universe2Error):
        return cls(message)
    return Universe2Error(f"{name}: {message}")


LONGEST_ERROR = 16_384
"""Characters of an error's message. What is wrong is named in it, and can be as long as a message."""


def shortened(error: Exception) -> str:
    """An error's message as it is told and logged. The cause may stand at its end."""
    text = str(error)
    if len(text) <= LONGEST_ERROR:
        return text
    return f"{text[: LONGEST_ERROR // 2]} […] {text[-LONGEST_ERROR // 2 :]}"


def in_utf8(text: str) -> str:
    """``text`` as UTF-8 can express it: lone surrogates are escaped. A message may quote a file name that
    isn't UTF-8, which Python keeps as such."""
    return text.encode(errors="backslashreplace").decode()
