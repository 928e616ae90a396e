"""The report: the executed notebooks of a profile as one HTML page, without network or other files."""
