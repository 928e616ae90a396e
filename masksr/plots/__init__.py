"""What several notebooks draw, in one style; a figure of one notebook alone stands in its cells."""
