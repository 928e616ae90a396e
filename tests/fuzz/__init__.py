"""Hostile files for every loader: valid samples, damaged in a structured way.

``python -m tests.fuzz`` runs for minutes; see ``__main__``. Whatever a loader is given, it must return or raise
MasksrError, within its time and memory.
"""
