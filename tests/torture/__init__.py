"""Many processes that are killed, paused and cut off, and a parent that checks what they did."""
