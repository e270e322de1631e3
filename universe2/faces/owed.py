"""What a runtime still owes after a call that did not come to its end.

A step that Ctrl-C or a deadline cut short leaves slots busy, and a busy slot can't be reset.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from universe2.core.batch import Batch
from universe2.core.errors import DeadlineError, IdleError, InvalidActionError, ServerLostError, UsageError
from universe2.core.runtime import Runtime

OWED_SECONDS = 60.0
"""How long a reset waits for what was asked before."""


def refusal(error: UsageError, owing: bool) -> UsageError:
    """Why a step was refused, for who steps a face: ``error``, or that something is owed, if that is why."""
    if not owing or isinstance(error, InvalidActionError):
        return error
    return UsageError("the step or reset before was interrupted; call reset")


def owed(runtime: Runtime) -> Iterator[Batch]:
    """Everything that was asked for and not received. Raises DeadlineError, ClosedError."""
    end = time.monotonic() + OWED_SECONDS
    left = runtime.num_slots  # a slot owes one result at most
    while left > 0:
        try:
            batch = runtime.recv(max(end - time.monotonic(), 0.0))
        except IdleError:
            return
        except DeadlineError as error:
            raise DeadlineError(
                f"{runtime.spec.id}: what was asked before is not done after {OWED_SECONDS:g} s, "
                "and can't be reset until it is; close it, or try again later"
            ) from error
        except (UsageError, ServerLostError):
            left -= 1  # a request that was refused, or whose server is gone: nothing will come of it
        else:
            left -= len(batch)
            yield batch
