"""The paper: mask, losses, one step, the loop, and where they compute."""
