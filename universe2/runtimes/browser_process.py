"""Browser: one Chromium headless shell with begin-frame control, and its life.

It dies with the process that started it: its command pipe closes, and the kernel kills it. It
has no profile on disk (headless shell keeps everything in memory) and reaches no network.
This file doesn't know pages or tasks.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from universe2.core.errors import MissingDependencyError
from universe2.core.host import InfrastructureFault
from universe2.envs.web.chromium import ENVIRONMENT_VARIABLE, FONTS, INSTALL, find_chromium
from universe2.runtimes.browser_cdp import Connection
from universe2.runtimes.process_tree import process_tree, resident_bytes

log = logging.getLogger("universe2.web")

START_SECONDS = 30.0
EXIT_SECONDS = 5.0

_ENVIRONMENT = {"TZ": "UTC", "LANG": "en_US.UTF-8", "LANGUAGE": "en_US"}

_DETERMINISM = (
    "--enable-begin-frame-control",
    "--run-all-compositor-stages-before-draw",
    "--disable-new-content-rendering-timeout",
    "--disable-threaded-animation",
    "--disable-threaded-scrolling",
    "--disable-smooth-scrolling",
    "--disable-checker-imaging",
    "--disable-image-animation-resync",
    "--enable-surface-synchronization",
    "--force-color-profile=srgb",
    "--font-render-hinting=none",
    "--lang=en-US",
)
_DEAD_PROXY = "--proxy-server=http://127.0.0.1:9"
"""Nobody listens there. It also takes the place of a proxy that the system or its environment names."""
_ISOLATION = (
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-domain-reliability",
    "--disable-sync",
    "--disable-extensions",
    "--no-first-run",
    "--no-default-browser-check",
)
_PLACE = (
    "--headless",
    "--remote-debugging-pipe",
    "--disable-gpu",
    "--in-process-gpu",  # a thread instead of a process that all frames would have to travel through
    # DeferRendererTasksAfterInput: timers that are due after a key or click would wait, some of the time.
    "--disable-features=BackForwardCache,PaintHolding,Translate,OptimizationHints,RenderDocument,"
    "DeferRendererTasksAfterInput",
    "--js-flags=--min-semi-space-size=16",  # a document dies whole: don't copy it about before
    "--disable-dev-shm-usage",
    "--disable-breakpad",
    "--hide-scrollbars",
    "--mute-audio",
    # Chromium's sandbox needs rights that containers seldom give. Pages are confined by what is
    # served to them instead.
    "--no-sandbox",
)


class Browser:
    """A running browser. ``frames`` must be held while a frame is drawn: two at once crash it."""

    def __init__(self, process: subprocess.Popen[bytes], connection: Connection) -> None:
        self.process = process
        self.connection = connection
        self.on_command = True
        """whether it draws frames on command only; an ordinary Chromium draws when it likes"""
        self.frames = asyncio.Lock()
        self.episodes = 0
        """pages opened so far"""
        self.pages: dict[str, Callable[[str], None]] = {}
        """target of a page → whom to tell of the windows that it opens, which are closed at once"""
        connection.listen("Target.targetCreated", "", self._close_popup)
        connection.listen("Target.targetCrashed", "", self._crashed)

    @classmethod
    async def start(cls, program: str | None = None, reach: str = "") -> Browser:
        """Start one that reaches ``reach`` (``host:port``) and nothing else, or nothing at all.

        Waits until it answers. Raises MissingDependencyError, InfrastructureFault.
        """
        program = program or find_chromium()
        if program is None:
            raise MissingDependencyError(f"no Chromium headless shell was found; get one with: {INSTALL}")
        try:
            return await cls._start(program, reach)
        except InfrastructureFault as error:
            if isinstance(error.__cause__, TimeoutError):
                raise
            # seen once in some thousands of starts: a thread of Chromium's own crashes
            log.warning("%s; it is started once more", error)
        return await cls._start(program, reach)

    @classmethod
    async def _start(cls, program: str, reach: str) -> Browser:
        commands_out, commands_in = os.pipe()
        results_out, results_in = os.pipe()
        launcher = Path(__file__).with_name("browser_launch.py")
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(launcher), str(commands_out), str(results_in)]
                + [str(os.getpid()), program, *_PLACE, *_DETERMINISM, *_ISOLATION, *_fence(reach)],
                pass_fds=(commands_out, results_in),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, **_ENVIRONMENT, "FONTCONFIG_FILE": str(FONTS)},
            )
        finally:
            os.close(commands_out)
            os.close(results_in)
        browser = cls(process, await Connection.open(results_out, commands_in))
        try:
            async with asyncio.timeout(START_SECONDS):
                await browser.connection.send("Target.setDiscoverTargets", discover=True)
                told = await browser.connection.send("Browser.getVersion")
                browser.on_command = told["product"].startswith("HeadlessChrome/")
        except TimeoutError as error:
            browser.kill()
            raise InfrastructureFault(
                f"{program} did not answer within {START_SECONDS:g} s of its start"
            ) from error
        except InfrastructureFault as error:
            browser.kill()
            raise InfrastructureFault(f"{program} ended as it started: {error}") from error
        except BaseException:
            browser.kill()
            raise
        return browser

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def megabytes(self) -> float:
        """Memory of the browser and all its processes, in MB; what they share counts for each."""
        return resident_bytes(process_tree(self.process.pid)) / 1e6

    def _close_popup(self, event: dict[str, Any]) -> None:
        info = event["targetInfo"]
        if (opener := info.get("openerId")) is not None:
            self.connection.send("Target.closeTarget", targetId=info["targetId"])
            if opener in self.pages:
                self.pages[opener](info.get("url") or "a new window")

    def _crashed(self, event: dict[str, Any]) -> None:
        self.connection.close(
            f"the page crashed ({event.get('status')}): out of memory, or a fault of Chromium"
        )

    def kill(self, why: str = "the connection was closed") -> None:
        """End it now. May be called twice."""
        self.connection.close(why)
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.kill()  # if it has no group of its own yet
            self.process.wait(EXIT_SECONDS)


def _fence(reach: str) -> tuple[str, ...]:
    """No name resolves but that of ``reach``, and every connection to elsewhere goes to a dead proxy.

    It holds for what ``Fetch.enable`` of a page doesn't see: sockets, WebRTC, shared and service workers.
    """
    host = reach.rpartition(":")[0].strip("[]")
    names = f", EXCLUDE {host}" if host else ""
    # Later rules come first: <-loopback> takes away that loopback addresses never go to a proxy.
    past = f";{reach}" if reach else ""
    return (
        f"--host-resolver-rules=MAP * ~NOTFOUND{names}",
        _DEAD_PROXY,
        f"--proxy-bypass-list=<-loopback>{past}",
    )


async def probe(program: str) -> bool:
    """Whether ``program`` draws frames on command. MissingDependencyError if it doesn't draw."""
    try:
        browser = await Browser.start(program)
    except InfrastructureFault as error:
        chosen = f", which {ENVIRONMENT_VARIABLE} names," if ENVIRONMENT_VARIABLE in os.environ else ""
        raise MissingDependencyError(
            f"{program}{chosen} does not run as a browser here: it ended at once, or did not answer within "
            f"{START_SECONDS:g} s. Get a headless shell with: {INSTALL}"
        ) from error
    try:
        async with asyncio.timeout(START_SECONDS):
            await _draw(browser)
            return browser.on_command
    except (TimeoutError, InfrastructureFault) as error:
        raise MissingDependencyError(
            f"{program} can't draw frames ({error!r}). Web tasks need a Chromium headless shell; "
            f"get one with: {INSTALL}"
        ) from error
    finally:
        browser.kill()


async def _draw(browser: Browser) -> None:
    send, on_command = browser.connection.send, browser.on_command
    target = await send("Target.createTarget", url="about:blank", enableBeginFrameControl=on_command)
    session = (await send("Target.attachToTarget", targetId=target["targetId"], flatten=True))["sessionId"]
    # Without a size of its own, as every page of ours has, 1 blank page in 20 of an ordinary Chromium on
    # a busy machine is never drawn.
    size = {"width": 160, "height": 210, "deviceScaleFactor": 1, "mobile": False}
    await send("Emulation.setDeviceMetricsOverride", session, **size)
    await send("HeadlessExperimental.beginFrame" if on_command else "Page.captureScreenshot", session)
