"""The report: the executed notebooks of a profile as one HTML page that needs no network and no other file."""
