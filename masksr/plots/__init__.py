"""What several notebooks draw, in one style; figures of a single notebook are in its cells."""
