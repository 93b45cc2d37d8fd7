"""Trajectories as arrays: files, simulation, splits, analysis, rivals, metrics.

Knows nothing of text, tokens or torch.
"""
