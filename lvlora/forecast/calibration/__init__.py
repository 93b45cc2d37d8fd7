"""Intervals that cover what they say: `widths` moves futures, one mechanism with two sources.

A model's folder brings the widths of any series, by linear rules. Widths from one's own data
(`own`) are a factor from forecasts whose truth is known. Both are the same file, held to its model.
"""
