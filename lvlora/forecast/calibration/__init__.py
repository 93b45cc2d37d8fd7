"""Intervals that cover what they say.

`widths` is what a model's folder says of the futures of any series, by linear rules (`rule`); it is
applied unless that is refused. For data like one's own, begin with `offsets`: conformal offsets are
made of forecasts whose truth is known, and applied to others. `facts` says what they were made with
and whether they serve other forecasts, `files` keeps them beside the adapter or among the runs.
"""
