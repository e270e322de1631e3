"""Becomes a browser: puts its two pipes where Chromium expects them and replaces itself by it.

Run as a script: ``browser_launch.py READ_FD WRITE_FD PARENT_PID PROGRAM ARGUMENT…``. It exists
because descriptors 3 and 4, and the order to die with the parent, must be set between fork
and exec, where running Python code is unsafe in a process with threads. Imports nothing of
this package.
"""

import ctypes
import fcntl
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    commands, results, parent = (int(argument) for argument in sys.argv[1:4])
    # Out of the way first: either may be 3 or 4 itself.
    commands = fcntl.fcntl(commands, fcntl.F_DUPFD_CLOEXEC, 10)
    results = fcntl.fcntl(results, fcntl.F_DUPFD_CLOEXEC, 10)
    os.dup2(commands, 3)
    os.dup2(results, 4)
    os.setpgid(0, 0)  # so that it can be killed together with what it starts
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the parent is gone")
    os.execv(sys.argv[4], sys.argv[4:])


if __name__ == "__main__":
    main()
