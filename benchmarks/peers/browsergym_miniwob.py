"""One MiniWoB++ environment of BrowserGym, stepped for a while with random clicks.

Run by benchmarks/web.py with the peer's own Python: ``browsergym_miniwob.py TASK SECONDS SEED``.
Its default observation (screenshot, DOM and accessibility tree) is taken at every step; there is no
switch for that. Resets are timed, the first start is not. The environment variable
``BROWSERGYM_CHROMIUM`` names the browser. Prints one line of JSON: {"steps", "seconds", "resets"}.
"""

import importlib.util
import json
import os
import sys
import time
from pathlib import Path

pages = Path(importlib.util.find_spec("miniwob").submodule_search_locations[0]) / "html" / "miniwob"
os.environ["MINIWOB_URL"] = f"{pages.as_uri()}/"  # read when the package is imported

import browsergym.miniwob  # noqa: E402, F401 (registers the environments)
import gymnasium as gym  # noqa: E402
import numpy as np  # noqa: E402
from browsergym.core.action.highlevel import HighLevelActionSet  # noqa: E402
from playwright.sync_api import BrowserType  # noqa: E402

ZOOM = 1.4
"""its own magnification of the page"""


launch = BrowserType.launch


def launch_ours(self: BrowserType, **settings: object) -> object:
    """Its chat starts a browser as well, which it takes no path for."""
    return launch(self, **{"executable_path": os.environ["BROWSERGYM_CHROMIUM"], **settings})


BrowserType.launch = launch_ours


def main() -> None:
    task, seconds, seed = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
    env = gym.make(
        f"browsergym/miniwob.{task}",
        action_mapping=HighLevelActionSet(subsets=["coord"]).to_python_code,
    )
    rng = np.random.default_rng(seed)
    steps = resets = 0
    try:
        env.reset(seed=seed)
        started = time.perf_counter()
        while (spent := time.perf_counter() - started) < seconds:
            x, y = rng.random(2) * (160, 210) * ZOOM
            observation, _, terminated, truncated, _ = env.step(f"mouse_click({x:.1f}, {y:.1f})")
            assert observation["screenshot"].ndim == 3
            if observation["last_action_error"]:
                raise RuntimeError(observation["last_action_error"])
            steps += 1
            if terminated or truncated:
                env.reset(seed=seed + steps)
                resets += 1
        print(json.dumps({"steps": steps, "seconds": spent, "resets": resets}), flush=True)
    finally:
        env.close()


if __name__ == "__main__":
    main()
