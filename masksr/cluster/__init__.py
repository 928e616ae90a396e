"""``masksr cluster``: the stages of the DVC graph that do not wait for each other, side by side, as Ray tasks.

``plan`` reads the graph, ``driver`` runs it on the Ray of ``connection``, ``task`` and ``child`` are what happens on
the machine of a stage, ``board`` tells what happens, and ``simulation`` says beforehand how long it will take.
Only ``driver``, ``connection`` and ``task`` know Ray.
"""
