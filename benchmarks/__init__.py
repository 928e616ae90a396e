"""How fast masksr is, against plain code that works as the public implementations do: ``python -m benchmarks``."""
