"""The perceptual index (PI) and its companions: pyiqa's numbers, many times as fast, with honest labels."""
