"""One MiniWoB++ environment of the ``miniwob`` package, stepped for a while with random clicks.

Run by benchmarks/web.py with the peer's own Python: ``miniwob_selenium.py TASK SECONDS SEED``.
Resets are timed, the browser's start is not. Prints one line of JSON: {"steps", "seconds"}.
"""

import json
import sys
import time

import numpy as np
from miniwob.action import ActionTypes
from miniwob.environment import MiniWoBEnvironment


def main() -> None:
    task, seconds, seed = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
    env = MiniWoBEnvironment(subdomain=task)
    rng = np.random.default_rng(seed)
    try:
        env.reset(seed=seed)
        steps, started = 0, time.perf_counter()
        while (spent := time.perf_counter() - started) < seconds:
            point = rng.random(2) * (160, 210)
            action = env.unwrapped.create_action(ActionTypes.CLICK_COORDS, coords=point.astype(np.float32))
            observation, _, terminated, truncated, _ = env.step(action)
            assert observation["screenshot"].shape == (210, 160, 3)
            steps += 1
            if terminated or truncated:
                env.reset(seed=seed + steps)
        print(json.dumps({"steps": steps, "seconds": spent}), flush=True)
    finally:
        env.close()


if __name__ == "__main__":
    main()
