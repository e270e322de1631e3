"""Faces: a Runtime as a Gymnasium Env, a Gymnasium VectorEnv, or a pool of many tasks.

Nothing here knows where a runtime runs; ``make`` decides that.
"""
