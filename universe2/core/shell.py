"""How a command ends: an error of universe2 is one line on stderr and an exit code, not a traceback."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from universe2.core.errors import Universe2Error, UnknownEnvError, UsageError


@contextmanager
def errors_in_a_line() -> Iterator[None]:
    """Exits 2 for wrong usage, 1 for what failed, 130 for Ctrl-C."""
    try:
        yield
    except Universe2Error as error:
        notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
        print(f"universe2: {error}{notes}", file=sys.stderr)
        sys.exit(2 if isinstance(error, (UsageError, UnknownEnvError)) else 1)
    except KeyboardInterrupt:
        print("universe2: interrupted", file=sys.stderr)
        sys.exit(130)
