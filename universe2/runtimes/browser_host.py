"""BrowserHost: the slots of one worker, each with a Chromium of its own.

While an episode runs, the page of the next one is loaded beside it in the same browser: two pages
take turns, each in a renderer of its own. Every operation has a deadline; a browser that misses
one, or dies, is killed, and its slot's next reset starts another. This file knows pages and
actions; episodes' numbers and processes it doesn't.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from universe2.core.errors import UsageError
from universe2.core.host import InfrastructureFault, StepResult
from universe2.core.pictures import resized
from universe2.core.screen import clean_instruction
from universe2.core.seeding import fold31
from universe2.core.spec import EnvConfig, EnvSpec, load
from universe2.envs.web.observations import extra_observation, parts_of
from universe2.envs.web.page import WebPage, check_options, reach_of
from universe2.envs.web.solvers.acting import Look
from universe2.envs.web.solvers.advice import Adviser
from universe2.runtimes.browser_actions import carry_out
from universe2.runtimes.browser_input import InputState
from universe2.runtimes.browser_marks import marked
from universe2.runtimes.browser_page import EpisodePage
from universe2.runtimes.browser_process import Browser

STEP_SECONDS = 20.0
OPEN_SECONDS = 30.0
EPISODES_PER_BROWSER = 200
"""A browser grows with every page it has shown; after this many another takes its place."""
RECYCLE_MB, KILL_MB = 900.0, 2500.0
"""memory at which a browser is replaced after its episode, and at which it is killed within one"""
_WATCH_SECONDS = 0.5
_STARTS_AT_ONCE = 2

T = TypeVar("T")


@dataclass
class _Slot:
    browser: Browser | None = None
    page: EpisodePage | None = None
    spare: EpisodePage | None = None
    """the page of the last episode, to be loaded again for the next one"""
    input: InputState = field(default_factory=lambda: InputState((1, 1)))
    megabytes: float = 0.0
    next_seed: int = -1
    next_page: asyncio.Task[EpisodePage] | None = None
    adviser: Adviser | None = None
    """with the option ``expert``"""
    lost: str = ""
    """why the page of the running episode is gone, if its browser died under the next one's"""

    def browsers(self) -> set[Browser]:
        """The slot's browser, and an older one whose episode still runs."""
        found = {self.browser, self.page.browser if self.page is not None else None}
        return {browser for browser in found if browser is not None}


class BrowserHost:
    """A SlotHost for web tasks: ``spec.entry`` makes the WebPage that all slots show."""

    concurrent = True

    def __init__(self, spec: EnvSpec, config: EnvConfig, slots: list[int]) -> None:
        self._spec = spec
        self._options = check_options(spec, config)
        self._parts = parts_of(self._options["observe"])
        self._page: WebPage = load(spec.entry)(**spec.kwargs)
        self._size = config.screen_size if config.interface == "screen" else self._page.size
        self._slots = {slot: _Slot() for slot in slots}
        self._starts = asyncio.Semaphore(_STARTS_AT_ONCE)
        self._watching: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Browsers start at their slots' first reset; what is shared is the watch over their memory."""
        self._watching = asyncio.create_task(self._watch_memory())

    async def _watch_memory(self) -> None:
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            for slot, state in self._slots.items():
                for browser in state.browsers():
                    megabytes = browser.megabytes()
                    if browser is state.browser:
                        state.megabytes = megabytes
                    if megabytes > KILL_MB:
                        browser.kill(
                            f"slot {slot}: the page took {megabytes:.0f} MB of memory, so it was killed"
                        )

    async def reset(self, slot: int, seed: int) -> tuple[Any, dict[str, Any]]:
        state = self._slots[slot]
        if state.page is not None and state.page.copied:
            await self._within(OPEN_SECONDS, slot, state.page.empty_clipboard())
        page = await self._next_page(slot, seed)
        last, state.page, state.input, state.lost = state.page, page, InputState(page.size), ""
        if last is not None:
            state.spare = last
            if last.browser is not page.browser:
                last.browser.kill()
        if self._options["expert"]:
            solver = self._page.player(fold31(seed))
            assert solver is not None  # check_options saw to that
            state.adviser = Adviser(solver, self._spec.id)
        info: dict[str, Any] = {} if page.browser.on_command else {"deterministic": False}
        info |= await self._asked_for(slot, page, None)
        return await self._observation(slot, page), info

    async def prepare(self, slot: int, seed: int) -> None:
        """Load the page of the next episode beside the present one."""
        state = self._slots[slot]
        if state.next_page is None and state.page is not None:
            state.next_seed = seed
            state.next_page = asyncio.create_task(self._open(slot, seed))
            # Whoever wants the page sees the error; if nobody does any more, it isn't news.
            state.next_page.add_done_callback(lambda task: task.cancelled() or task.exception())
            await asyncio.wait([state.next_page])

    async def step(self, slot: int, action: Any) -> StepResult:
        state = self._slots[slot]
        page = state.page
        if page is None and state.lost:
            raise InfrastructureFault(state.lost)
        if page is None:
            raise UsageError(f"slot {slot} has no page; reset it")

        async def act() -> tuple[dict[str, Any], str]:
            error = ""
            if self._options["actions"] == "structured":
                error = await carry_out(action, page, state.input)
            else:
                await page.act(state.input.commands(action))
            await page.advance(self._options["step_ms"])
            return await page.read(), error

        outcome, error = await self._within(STEP_SECONDS, slot, act())
        reward, info = self._judge(outcome, page)
        if error:
            info["action_error"] = error
        info |= await self._asked_for(slot, page, action, bool(outcome["done"]))
        timed_out = bool(outcome["done"] and outcome["timed_out"])
        terminated = bool(outcome["done"]) and not timed_out
        return StepResult(await self._observation(slot, page), reward, terminated, timed_out, info)

    async def render(self, slot: int, size: tuple[int, int] | None) -> np.ndarray:
        page = self._slots[slot].page
        if page is None:
            raise UsageError(f"slot {slot} has no page to render; reset it")
        return resized(page.frame, size or page.size)

    async def close(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
        for slot, state in self._slots.items():
            if state.next_page is not None:
                state.next_page.cancel()
                await asyncio.wait([state.next_page])
            self._kill(slot)

    def browser_pids(self) -> list[int]:
        """Process ids of the browsers that run, for diagnosis."""
        browsers = [state.browser for state in self._slots.values()]
        return [browser.process.pid for browser in browsers if browser is not None and browser.alive]

    def _judge(self, outcome: dict[str, Any], page: EpisodePage) -> tuple[float, dict[str, Any]]:
        """The reward, and the info of a step."""
        lists = {"refused": page.refused, "dialogs": page.dialogs, "downloads": page.downloads}
        lists["errors"] = page.errors
        told = {name: tuple(some) for name, some in lists.items() if some}
        if not outcome["done"]:
            return 0.0, told
        raw, decayed = (_number(outcome.get(name), name, page) for name in ("raw", "decayed"))
        success = raw == 1.0
        info = {
            "raw_reward": raw,
            "decayed_reward": decayed,
            "success": success,
            "reason": str(outcome.get("reason") or ""),
            **told,
        }
        rewards = {"raw": raw, "decayed": decayed, "binary": float(success)}
        return rewards[self._options["reward"]], info

    async def _observation(self, slot: int, page: EpisodePage) -> dict[str, Any]:
        obs: dict[str, Any] = {
            "screen": resized(page.frame, self._size),
            "instruction": clean_instruction(page.instruction),
        }
        if self._parts:
            look: dict[str, Any] = {"fields": page.fields}
            if self._parts != ("fields",):
                look |= await self._within(STEP_SECONDS, slot, page.look())
            obs |= extra_observation(self._parts, look)
            if "marks" in self._parts:
                obs["marks"] = resized(marked(page.frame, look["rows"]), self._size)
        return obs

    async def _asked_for(
        self, slot: int, page: EpisodePage, action: Any, over: bool = False
    ) -> dict[str, Any]:
        """Info of the options ``elements`` and ``expert``; ``action`` is None at an episode's beginning."""
        adviser = None if over else self._slots[slot].adviser  # no move comes after the last one
        info: dict[str, Any] = {}
        if adviser is None and not self._options["elements"]:
            return {}
        elements = await self._within(STEP_SECONDS, slot, page.elements())
        if self._options["elements"]:
            info["elements"] = elements
        if adviser is not None:
            look = Look(clean_instruction(page.instruction), elements, page.frame)
            advice = adviser.begin(look) if action is None else adviser.after(action, look)
            if advice is not None:
                info["expert"] = advice
        return info

    async def _next_page(self, slot: int, seed: int) -> EpisodePage:
        """The page of ``seed``: the one prepared, if it is the right one, or else a new one."""
        state = self._slots[slot]
        task, state.next_page = state.next_page, None
        if task is not None:
            await asyncio.wait([task])
            if not task.cancelled() and task.exception() is None:
                page = task.result()
                if state.next_seed == seed and page.browser.alive:
                    return page
                state.spare = page
        return await self._open(slot, seed)

    async def _open(self, slot: int, seed: int) -> EpisodePage:
        browser = await self._fit_browser(slot)
        state, mode = self._slots[slot], self._options["data_mode"]
        spare, state.spare = state.spare, None
        if spare is not None and spare.browser is browser:
            if not spare.worn:
                await self._within(OPEN_SECONDS, slot, spare.reopen(fold31(seed), mode))
                return spare
            await self._within(OPEN_SECONDS, slot, spare.discard())
        opening = EpisodePage.open(browser, self._page, fold31(seed), mode)
        return await self._within(OPEN_SECONDS, slot, opening)

    async def _fit_browser(self, slot: int) -> Browser:
        """The slot's browser, or a new one if it is dead or old. An old one is left to its page."""
        state = self._slots[slot]
        browser = state.browser
        worn = browser is not None and (
            browser.episodes >= EPISODES_PER_BROWSER or state.megabytes > RECYCLE_MB
        )
        if browser is None or not browser.alive or worn:
            async with self._starts:
                state.browser = await Browser.start(reach=reach_of(self._page.url))
            state.megabytes = 0.0
            if browser is not None and (state.page is None or state.page.browser is not browser):
                browser.kill()
        assert state.browser is not None
        return state.browser

    async def _within(self, seconds: float, slot: int, work: Coroutine[Any, Any, T]) -> T:
        """Await browser work. On a deadline missed or a browser lost, its browsers are killed."""
        try:
            async with asyncio.timeout(seconds):
                return await work
        except TimeoutError as error:
            browser = self._slots[slot].browser
            waiting = ", ".join(browser.connection.unanswered) if browser is not None else "?"
            fault = InfrastructureFault(
                f"slot {slot}: the browser did not answer within {seconds:g} s, so it was killed "
                f"(unanswered: {waiting})"
            )
            self._kill(slot, str(fault))
            raise fault from error
        except InfrastructureFault as fault:
            self._kill(slot, str(fault))
            raise

    def _kill(self, slot: int, why: str = "") -> None:
        """End the slot's browsers; ``why`` is what a step hears that is under way or comes later."""
        state = self._slots[slot]
        state.lost = state.lost or why
        for browser in state.browsers():
            browser.kill(why or "the connection was closed")
        state.browser = state.page = state.spare = None


def _number(value: Any, name: str, page: EpisodePage) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    raise ValueError(
        f"{page.instruction!r}: the page's {name} reward is {value!r}, not a number{page.cause()}"
    )
