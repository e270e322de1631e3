"""Models, learner primitives, collection, training and evaluation: the only layer with torch."""

if __name__ != "universe2.agents":
    raise ImportError(f"import this package as universe2.agents, not as {__name__}")

import universe2.agents.threads  # noqa: F401  # must come before PyTorch
from universe2.agents.by_hand import player

__all__ = ["player"]
