"""What a long run meets: killed processes, full disks, damaged files, two at once, edits underway. `make faults`.

    python -m tests.faults [--kills 200] [--seed N] [--only NAME]

Every fault is a function ``(folder, rng) -> Found`` that does the damage in ``folder``, looks at what a user would see,
runs the same thing again and compares the result, bit by bit, with that of an undisturbed run. An AssertionError is a
failure. Moments are drawn from the seed; where they hit still depends on how fast the machine is just then, except for
the kills aimed at an operation of the file system.
"""
