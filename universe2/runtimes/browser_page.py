"""EpisodePage: one fresh document under virtual time, for one episode.

A page loads with its clock standing still. From then on time passes only when ``advance`` says so,
and a frame is drawn only when asked for: what happens in a page depends on its seed and input
alone, however slow the machine. When an episode is over its renderer loads the next document.

Ends of steps never coincide with a whole number of milliseconds after an earlier one, because
the order of a timer that is due at the very end of a time budget is left to chance by Chromium.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import math
from collections.abc import Iterable, Sequence
from functools import cache, partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from universe2.core.host import InfrastructureFault
from universe2.envs.web.page import WebPage
from universe2.runtimes.browser_document import single_document
from universe2.runtimes.browser_input import FLUSH, Command
from universe2.runtimes.browser_origin import Origin, tell
from universe2.runtimes.browser_process import Browser

START_S = 1_704_110_400
"""2024-01-01 12:00 UTC, the moment at which every page is opened"""
_GOLDEN = 0.6180339887
_PNG = {"format": "png", "optimizeForSpeed": True}
_LOADING_MS = 1000
"""virtual time given at once to a page that loads"""
_FRAMES = 100
"""Where one document replaces another, on a busy machine, the first frames may come without a picture
(seen in 2 of 100 episodes of our sites). Page time stands still meanwhile."""
_AT_ONCE = 3
"""Of those, how many are drawn before the page itself is waited for in between."""
_STARTING_MS = 100
"""virtual time given at once to a page that starts its problem"""


class EpisodePage:
    """A page in a browser context of its own. Made by ``open``, used again by ``reopen``."""

    def __init__(self, browser: Browser, page: WebPage, session: str, target: str, context: str) -> None:
        self.browser = browser
        self.instruction = ""
        self.fields: dict[str, str] = {}
        """what the instruction names"""
        self.dialogs: list[str] = []
        """what it asked or told in dialogs, which are answered at once"""
        self.downloads: list[str] = []
        """names of files that it would have downloaded"""
        self.errors: list[str] = []
        """what its scripts did not catch"""
        self.worn = False
        """whether something happened that would change later episodes: then it isn't used again"""
        self.copied = False
        """whether something may have got into the clipboard, which all pages of a browser share"""
        self._page = page
        self._session = session
        self._target, self._context = target, context
        self._origin = Origin(page, target, self._send)
        self.refused = self._origin.refused
        """addresses that the page asked for and did not get"""
        self._resume = ""
        """the script that lets the clock go on in later documents"""
        self._steps = 0
        self._elapsed_ms = 0.0
        self._base_ms = -1.0
        """the browser's clock when virtual time began; negative before"""
        self._origin_ms = 0
        """virtual time at which the episode began: a whole number, so that all episodes tick alike"""
        self._picture = ""
        self.size = page.size
        """(height, width) in pixels of what is seen"""
        self.frame: np.ndarray = np.zeros((*page.size, 3), np.uint8)
        """uint8 (H, W, 3): the last frame drawn"""

    @classmethod
    async def open(cls, browser: Browser, page: WebPage, seed: int, mode: str) -> EpisodePage:
        """Load the page afresh, start the problem of ``seed``, draw the first frame."""
        send = browser.connection.send
        browser.episodes += 1
        context = (await send("Target.createBrowserContext"))["browserContextId"]
        height, width = page.size
        target = await send(
            "Target.createTarget",
            url="about:blank",
            browserContextId=context,
            width=width,
            height=height,
            enableBeginFrameControl=browser.on_command,
        )
        denied = send("Browser.setDownloadBehavior", behavior="deny", browserContextId=context)
        attached = await send("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        opened = cls(browser, page, attached["sessionId"], target["targetId"], context)
        browser.pages[target["targetId"]] = partial(tell, opened.refused)
        await denied
        await opened._set_up()
        await opened._load(seed)
        await opened._begin(seed, mode)
        return opened

    async def reopen(self, seed: int, mode: str) -> None:
        """Load the page again, as a fresh document in the same renderer: far cheaper than ``open``."""
        self.browser.episodes += 1
        if self._resume:
            self._send("Page.removeScriptToEvaluateOnNewDocument", identifier=self._resume)
            self._resume = ""
        # The pointer leaves and lets go.
        away = {"x": -10, "y": -10, "button": "left"}
        left: list[Command] = [
            ("Input.dispatchMouseEvent", {"type": "mouseReleased", **away}),
            ("Input.dispatchMouseEvent", {"type": "mouseMoved", "x": -10, "y": -10}),
            FLUSH,
        ]
        await self._send_all(left)
        if not self._page.in_frame:
            await self._leave()
        for told in (self.refused, self.dialogs, self.downloads, self.errors):
            told.clear()
        await self._load(seed)
        await self._begin(seed, mode)

    async def discard(self) -> None:
        """Close it: nothing can be done with it any more."""
        self.browser.pages.pop(self._target, None)
        await self.browser.connection.send("Target.disposeBrowserContext", browserContextId=self._context)

    async def _set_up(self) -> None:
        connection, height, width = self.browser.connection, *self._page.layout
        connection.listen("Fetch.requestPaused", self._session, self._origin.serve)
        connection.listen("Page.javascriptDialogOpening", self._session, self._dismiss)
        connection.listen(
            "Page.downloadWillBegin",
            self._session,
            lambda event: tell(self.downloads, event["suggestedFilename"]),
        )
        await asyncio.gather(
            self._send("Page.enable"),
            self._send("Fetch.enable", patterns=[{"urlPattern": "*"}]),
            self._send("Emulation.setTimezoneOverride", timezoneId="UTC"),
            self._send("Emulation.setLocaleOverride", locale="en_US"),
            self._send("Emulation.setFocusEmulationEnabled", enabled=True),
            # The page lays itself out in its usual window; drawn is only the part that is seen.
            self._send(
                "Emulation.setDeviceMetricsOverride",
                width=width,
                height=height,
                deviceScaleFactor=1,
                mobile=False,
                dontSetVisibleSize=True,
            ),
            self._send("Page.addScriptToEvaluateOnNewDocument", source=_bootstrap(self._page.accept_dialogs)),
        )

    async def _load(self, seed: int) -> None:
        """Get a fresh document with all that it refers to."""
        self._origin.begin(seed)
        if not self._page.in_frame:
            await self._navigate()
            await self._until(self._run("__universe2.preload().then(() => 0)", awaitPromise=True))
            return
        if self._base_ms < 0:
            await self._navigate()
            assert self._page.root is not None
            document = json.dumps(single_document(self._page.root, self._page.path))
            height, width = self._page.layout
            await self._run(f"__universe2.host({width}, {height}, ...{document})")
        await self._until(self._run("__universe2.write().then(() => 0)", awaitPromise=True))

    async def _leave(self) -> None:
        """Nothing of the last episode stays: not where it went, not what it kept there or stored."""
        # A page that is navigated to where it is counts as reloaded, and finds its history.state again.
        await self._until(self._send("Page.navigate", url="about:blank"))
        await self._send_all(
            [
                ("Page.resetNavigationHistory", {}),
                ("Storage.clearDataForOrigin", {"origin": self._origin.url, "storageTypes": "all"}),
                ("Runtime.evaluate", {"expression": "0"}),  # the load event of the blank page comes before
            ]
        )

    async def _navigate(self) -> None:
        origin = self._origin
        loaded = origin.document = self.browser.connection.expect("Page.loadEventFired", self._session)

        def landed(answer: asyncio.Future[dict[str, Any]]) -> None:
            done = not answer.cancelled() and answer.exception() is None
            if done and (error := answer.result().get("errorText")):
                origin.miss(origin.address, f"{error}; is its server running?")

        navigated = self._send("Page.navigate", url=origin.address)
        navigated.add_done_callback(landed)
        await self._until(loaded)
        await navigated
        origin.check()

    async def _until(self, done: asyncio.Future[dict[str, Any]]) -> None:
        """Wait, and let virtual time pass if there is any yet: nothing loads while it stands still."""
        while self._base_ms >= 0 and not done.done():
            whole = math.ceil(self._elapsed_ms)
            await self._spend(whole + _LOADING_MS - self._elapsed_ms)
            self._elapsed_ms = whole + _LOADING_MS
            await asyncio.wait([done], timeout=0.01)
        await done

    async def _begin(self, seed: int, mode: str) -> None:
        if self._base_ms < 0:
            policy = await self._send(
                "Emulation.setVirtualTimePolicy", policy="pause", initialVirtualTime=START_S
            )
            self._base_ms = policy["virtualTimeTicksBase"]
        self._origin_ms += round(self._elapsed_ms)
        self._elapsed_ms, self._steps = 0.0, 0
        start = f"(__universe2.begin(), __universe2.start({self._page.start}, {self._page.read}, "
        start += f"{seed}, {json.dumps(mode)}))"
        if self._page.in_frame:
            self._told(await self.evaluate(start))
        else:
            told = await self._start(start)
            self._told(told if self._origin.site is None else self._origin.site.instruction)
        await self.advance(0)

    def _told(self, told: Any) -> None:
        """Keep the instruction and its fields, as the page's ``start`` returned them."""
        found = None
        if isinstance(told, dict):
            told, found = told.get("utterance"), told.get("fields")
        self.instruction = str(told if told is not None else self._page.instruction)
        if found is None and self._page.fields is not None:
            with contextlib.suppress(LookupError, ValueError):
                found = dict(self._page.fields(self.instruction))
        self.fields = {str(name): str(value) for name, value in (found or {}).items()}

    async def _start(self, start: str) -> Any:
        """Start a problem that may take page time to appear and may lead to other documents."""
        zero = await self.evaluate("__universe2.begin()")
        resume = f"__universe2.resume({zero}, {self._page.read})"
        added = await self._send("Page.addScriptToEvaluateOnNewDocument", source=resume)
        self._resume = added["identifier"]
        started = self._run(start, awaitPromise=True)
        # Answers come in order: if the problem is there, its answer comes before the second one.
        while await self._run("0") and not started.done():
            await self._spend(_STARTING_MS)
            self._elapsed_ms += _STARTING_MS
        return await self._value(await started)

    async def act(self, commands: Sequence[Command]) -> None:
        """Carry out input commands and wait until the page has dealt with them."""
        # Input takes another way through the browser than scripts; only waiting keeps the order.
        for is_input, some in groupby(commands, lambda command: command[0].startswith("Input.")):
            if is_input:
                await self._send_all(some)
            else:
                for _, params in some:
                    await self.evaluate(params["expression"])

    async def _send_all(self, commands: Iterable[Command]) -> None:
        """Send commands in one piece and wait for all answers."""
        with self.browser.connection.together():
            sent = [self._send(method, **params) for method, params in commands]
        # The last one first: mostly it's the last to come, and whoever waits is woken once.
        for answer in reversed(sent):
            await answer

    async def advance(self, milliseconds: int) -> None:
        """Let virtual time pass, then draw a frame."""
        self._steps += 1
        whole = round(self._elapsed_ms) + milliseconds
        end = round(whole + 0.1 + 0.3 * (self._steps * _GOLDEN % 1.0), 3)
        end = max(end, round(self._elapsed_ms + 0.001, 3))
        await self._spend(end - self._elapsed_ms)
        interval, self._elapsed_ms = end - self._elapsed_ms, end
        await self._draw(interval)

    async def _spend(self, milliseconds: float) -> None:
        """Let virtual time pass. It waits for files that the page is loading, so that they are there at
        the same moment in every run."""
        spent = self.browser.connection.expect("Emulation.virtualTimeBudgetExpired", self._session)
        await self._send(
            "Emulation.setVirtualTimePolicy",
            policy="pauseIfNetworkFetchesPending",
            budget=round(milliseconds, 3),
        )
        await spent

    async def _draw(self, interval: float) -> None:
        async with self.browser.frames:
            if self.browser.on_command:
                if self._origin.turned:  # a frame begun while documents change is at times never answered
                    self._origin.turned = False
                    await self._run("0")
                for attempt in range(_FRAMES):
                    if attempt >= _AT_ONCE:
                        await self._run("0")  # answered by a renderer that has got on with its document
                    data = await self._frame(interval, later=0.002 * attempt)
                    if data:
                        break
            else:
                height, width = self.size
                seen = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
                data = (await self._send("Page.captureScreenshot", clip=seen, **_PNG))["data"]
        if not data:
            raise InfrastructureFault("the browser drew a frame without a picture")
        if data != self._picture:
            self._picture = data
            with Image.open(io.BytesIO(base64.b64decode(data))) as image:
                self.frame = np.asarray(image.convert("RGB"))

    async def _frame(self, interval: float, later: float) -> str:
        """Draw: the picture as base64, if there is one."""
        drawn = await self._send(
            "HeadlessExperimental.beginFrame",
            frameTimeTicks=self._base_ms + self._origin_ms + self._elapsed_ms + later,
            interval=max(interval, 1.0),
            screenshot=_PNG,
        )
        return str(drawn.get("screenshotData", ""))

    async def read(self) -> dict[str, Any]:
        """What the page's ``read`` function returns."""
        self._origin.check()
        site = self._origin.site
        judged = "0" if site is not None else "__universe2.read()"
        told = await self.evaluate(f"[{judged}, __universe2.news()]")
        self._hear(told[1])
        outcome: dict[str, Any] = told[0] if site is None else site.outcome()
        limit = self._page.limit_ms
        if limit and self._elapsed_ms >= limit and not outcome["done"]:
            return {"done": True, "timed_out": True, "raw": -1.0, "decayed": -1.0, "reason": "timed out"}
        return outcome

    def _hear(self, news: dict[str, list[str]]) -> None:
        """Keep what the page's documents have to tell since they were last asked (see browser_page.js)."""
        for name in ("refused", "dialogs", "downloads", "errors"):
            for text in news[name]:
                tell(getattr(self, name), text)
        self.worn = self.worn or "selected" in news["happened"]
        self.copied = self.copied or "copied" in news["happened"]

    async def elements(self) -> list[dict[str, Any]]:
        """What is in sight: tag, id, classes, type, text, value, checked, focused, color, box."""
        found: list[dict[str, Any]] = await self.evaluate("__universe2.elements()")
        height, width = self.size
        return [box for box in found if box["left"] < width and box["top"] < height]

    async def look(self) -> dict[str, Any]:
        """The page in structure: rows, tree, focus, url (see universe2.envs.web.observations)."""
        height, width = self.size
        told: dict[str, Any] = await self.evaluate(f"__universe2.look({width}, {height})")
        return told

    async def locate(self, ref: int) -> dict[str, Any]:
        """Bring an element into sight: x, y, editable, tag, filled; or error."""
        height, width = self.size
        told: dict[str, Any] = await self.evaluate(f"__universe2.locate({ref}, {width}, {height})")
        return told

    async def empty_clipboard(self) -> None:
        """Leave nothing to other pages."""
        await self.evaluate("__universe2.forget()")
        self.copied = False

    async def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression. Raises RuntimeError if it throws."""
        return await self._value(await self._run(self._inside(expression)))

    async def _value(self, answer: dict[str, Any]) -> Any:
        """What was evaluated. Raises RuntimeError if that threw, with what went wrong in the page before."""
        if (details := answer.get("exceptionDetails")) is not None:
            thrown = details.get("exception", {}).get("description", details.get("text"))
            answer = await self._run(self._inside("__universe2.news()"))
            if "exceptionDetails" not in answer:
                self._hear(answer["result"]["value"])
            raise RuntimeError(f"{self._origin.address}: {thrown}{self.cause()}")
        return answer["result"].get("value")

    def _inside(self, expression: str) -> str:
        """The same expression for where the page's document is."""
        return f"frames[0].eval({json.dumps(expression)})" if self._page.in_frame else expression

    def cause(self) -> str:
        """What is to be added to a complaint about the page: where it went wrong first."""
        return f"\nThe page's first error was {self.errors[0]}" if self.errors else ""

    def _run(self, expression: str, **options: Any) -> asyncio.Future[dict[str, Any]]:
        """Evaluate in the top document."""
        return self._send(
            "Runtime.evaluate", expression=expression, returnByValue=True, userGesture=True, **options
        )

    def _send(self, method: str, **params: Any) -> asyncio.Future[dict[str, Any]]:
        return self.browser.connection.send(method, self._session, **params)

    def _dismiss(self, event: dict[str, Any]) -> None:
        """Pages can't ask anything (see browser_page.js) but whether one wants to leave them: yes."""
        self._send("Page.handleJavaScriptDialog", accept=True)


@cache
def _bootstrap(accept_dialogs: bool) -> str:
    names = ("browser_clock.js", "browser_page.js", "browser_look.js")
    source = "\n".join(Path(__file__).with_name(name).read_text("utf-8") for name in names)
    return source.replace("$START_MS", str(START_S * 1000)).replace("$ACCEPT", json.dumps(accept_dialogs))
