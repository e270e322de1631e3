"""The contract as code: run your environment, runtime or server through it.

from universe2.testing import check_env
print(check_env("arcade/Breakout-v0"))                      # here
print(check_env("mine/Game-v0", remotes=["127.0.0.1:15900"]))  # and through a server
"""

from universe2.testing.contract import Report, check_env, check_runtime
from universe2.testing.play import ActionSource, Played, play

__all__ = ["ActionSource", "Played", "Report", "check_env", "check_runtime", "play"]
