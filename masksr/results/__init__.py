"""From scores to tables and verdicts."""
