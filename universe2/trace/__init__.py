"""Traces: what happened in an episode, as a hash, as a record and in a file. Knows core only."""

from universe2.trace.hash import TrajectoryHash
from universe2.trace.recorder import Episode, Recorder, unpack_actions
from universe2.trace.store import EpisodeStore, Run, StoredEpisode

__all__ = ["Episode", "EpisodeStore", "Recorder", "Run", "StoredEpisode", "TrajectoryHash", "unpack_actions"]
