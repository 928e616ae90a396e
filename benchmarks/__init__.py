"""How fast masksr is, against plain code that does the work as the public implementations do: ``python -m benchmarks``."""
