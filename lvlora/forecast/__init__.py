"""Constrained decoding, sampling, quantiles, and scoring a forecaster on a split."""
