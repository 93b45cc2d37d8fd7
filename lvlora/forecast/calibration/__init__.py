"""Intervals that cover what they say.

Begin with `offsets`: conformal offsets are made of forecasts whose truth is known, and applied to
others. `facts` says what they were made with and whether they serve other forecasts, `files` keeps
them beside the adapter or among the runs.
"""
