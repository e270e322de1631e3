"""Web tasks: pages that set a small problem and judge it, driven by pointer and keyboard.

Observation: ``{"screen": uint8 (210, 160, 3), "instruction": str}`` (under
``interface="screen"`` the screen has the size asked for). Action: the screen action of
``universe2.core.screen``, all of it live, under both interfaces.

Time is the page's own and passes by actions only: ``step_ms`` milliseconds each. Pages are drawn with
the fonts of this package, so their layouts are the same on every machine; single pixels may differ
between builds of Chromium.

Reward: 0 until the episode ends. The episode is *terminated* when the task ends itself, and
*truncated* when the page's time limit is reached, which MiniWoB++ rewards with −1. The info of
the last step holds ``raw_reward``, ``decayed_reward``, ``success`` (raw is exactly 1) and ``reason``. Info of
any step holds what the episode's pages did in vain so far: ``refused``, addresses elsewhere and windows,
``dialogs`` and ``downloads``; and in ``errors`` what their scripts did not catch, each once, ten at most.

Options:
- ``step_ms`` (100): page time per step, 10 to 10000 ms.
- ``data_mode`` ("train"): "train" or "test", for the pages that have two sets of data.
- ``reward`` ("raw"): "raw", the task's verdict; "decayed", less the longer it took (upstream's
  default); "binary", 1 for success, else 0.
- ``elements`` (False): add ``info["elements"]``, a list of what is on the page with tag, id, classes,
  type, text (a picture's alternative text is text, too), label (aria-label), value, checked, focused,
  color (as CSS writes it: the fill of a drawn shape, else the background), left, top, width, height (pixels).
  For scripted solvers and debugging; it's not part of the observation.
- ``expert`` (0): 1 adds ``info["expert"]``, int64 (5,): the screen action that the task's solver would
  take now, where it knows one. It goes on with its plan while the player does what it says, and begins
  anew on the page as it is when the player does something else. For all that is listed here, and pages
  of one's own with a ``solver``.
- ``observe`` (""): more parts of the observation, separated by commas: "elements" (a table of fixed
  shape), "axtree", "marks", "focus", "url", "fields" (of the instruction); see
  ``universe2.envs.web.observations``.
- ``actions`` ("screen"): "structured" for actions by element reference, such as ``click(12)``; see
  ``universe2.envs.web.actions``.
"""

from __future__ import annotations

from universe2.core.spec import EnvSpec
from universe2.envs.web import flights, miniwob, sites
from universe2.envs.web.own import web_env

__all__ = ["specs", "web_env"]


def specs() -> list[EnvSpec]:
    """All web tasks. Starts nothing and imports no browser."""
    return [*miniwob.specs(), *flights.specs(), *sites.specs()]
