"""The paper's method: mask, losses, one step, the loop, and the devices they run on."""
