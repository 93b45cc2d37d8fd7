"""Intervals that cover what they say.

`widths` is what a model's folder says of the futures of any series, by linear rules (`rule`); it is
applied unless that is refused. For data like one's own, begin with `offsets`: conformal offsets are
made of forecasts whose truth is known, and applied to others that are like these. Both are files
that are held to their model (`stored`).
"""
