"""The training loop, its resumable state, and sweeps. Knows nothing of terminals."""
