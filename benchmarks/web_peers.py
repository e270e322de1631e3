"""Others' web environments, as benchmarks/web.py measures them: where they come from, how fast they step.

Each lives in a virtual environment of its own under .cache/peers/, made from PyPI at its first use, and
is driven by a script in peers/ that prints one line of JSON, {"steps", "seconds"}.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import venv
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
INSTALL_SECONDS = 600
START_SECONDS = 120
"""how long a peer may take to start and to end, beside what it is measured for"""
BROWSER = "chromium"


class PeerError(Exception):
    """A peer can't be installed or run here; the message says why."""


@dataclass(frozen=True)
class Peer:
    """One peer: what is to be installed, what runs it, what ours is to be divided by its rate."""

    name: str
    folder: str
    packages: tuple[str, ...]
    script: str
    programs: tuple[str, ...]
    """Debian's programs that it needs"""
    variables: tuple[tuple[str, str], ...]
    """environment variable → the program whose path it takes"""
    target: float

    def python(self) -> Path:
        """Its Python, in an environment that is made if it isn't there. Raises PeerError."""
        if missing := [program for program in self.programs if shutil.which(program) is None]:
            raise PeerError(f"{', '.join(missing)} not found; apt-get install chromium chromium-driver")
        place = HERE.parent / ".cache" / "peers" / self.folder
        python, done = place / "bin" / "python", place / "installed"
        if done.exists() and done.read_text() == "\n".join(self.packages):
            return python
        venv.create(place, with_pip=True, clear=True)
        command = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *self.packages]
        try:
            subprocess.run(command, check=True, timeout=INSTALL_SECONDS, capture_output=True, text=True)
        except subprocess.TimeoutExpired as error:
            raise PeerError(f"pip did not install it within {INSTALL_SECONDS} s") from error
        except subprocess.CalledProcessError as error:
            raise PeerError(f"pip could not install it: {_last_line(error.stderr)}") from error
        done.write_text("\n".join(self.packages))
        return python

    def rate(self, task: str, processes: int, seconds: float) -> float:
        """Steps per second of ``processes`` of its environments together. Raises PeerError."""
        command = [str(self.python()), str(HERE / "peers" / self.script), task, str(seconds)]
        programs = {variable: str(shutil.which(program)) for variable, program in self.variables}
        running = [
            subprocess.Popen(
                [*command, str(1000 * number)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, **programs},
            )
            for number in range(processes)
        ]
        try:
            return sum(self._finished(process, seconds + START_SECONDS) for process in running)
        finally:
            for process in running:
                process.kill()
                process.communicate()

    def _finished(self, process: subprocess.Popen[str], seconds: float) -> float:
        try:
            out, said = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired as error:
            raise PeerError(f"{self.script} did not end within {seconds:g} s") from error
        if process.returncode:
            raise PeerError(f"{self.script} failed: {_last_line(said)}")
        told = json.loads(out.splitlines()[-1])
        return float(told["steps"] / told["seconds"])


def _last_line(text: str) -> str:
    """What a traceback ends with, even if a message of several lines follows."""
    lines = [line for line in text.splitlines() if line.strip()]
    named = [line for line in lines if line[0].isalpha() and "Error" in line.partition(":")[0]]
    return (named or lines or ["it said nothing"])[-1]


SELENIUM = Peer(
    name="MiniWoB++'s own Selenium environment",
    folder="miniwob",
    packages=("miniwob==1.1.0",),
    script="miniwob_selenium.py",
    programs=(BROWSER, "chromedriver"),
    variables=(("MINIWOB_CHROME_BINARY", BROWSER), ("MINIWOB_CHROMEDRIVER", "chromedriver")),
    target=20.0,
)
BROWSERGYM = Peer(
    name="BrowserGym",
    folder="browsergym",
    packages=("browsergym-core==0.14.3", "browsergym-miniwob==0.14.3", "miniwob==1.1.0"),
    script="browsergym_miniwob.py",
    programs=(BROWSER,),
    variables=(("BROWSERGYM_CHROMIUM", BROWSER),),
    target=100.0,
)
PEERS = {"Selenium": SELENIUM, "BrowserGym": BROWSERGYM}
