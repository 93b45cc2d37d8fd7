"""How good forecasts are, from arrays in original units.

`measures` lists all metrics, with the words of tables and axes. `scores` has the errors and the
scores of sampled forecasts, and puts all metrics of one forecaster together; `dynamics` says
whether a forecast moves as the truth does, `skill` how much better than others it is.

Metrics are in this room, not in `evaluation/`, because calibration and the validation of a training
use them as well.
"""
