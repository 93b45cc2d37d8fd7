"""Forecasts of series by a language model, alone or together with rivals.

Begin with `verb`: `forecast` and `price` are what `lvlora forecast` does, and they read top to
bottom. Programs begin with `open_model` and its `Forecaster`.

- `forecaster`: whoever forecasts, at a price that is bounded before: a `language_model`, one of the
  `rivals`, or an `ensemble` of all
- `plan`: how a model reads histories (`reading`, `even_steps`) and its price bound; it needs no
  weights. `pricing` has what was computed, its exact price, and what pays for it
- `decoding` draws futures under the grammar, `continuation` has a model read what they are fed, by
  PyTorch or the native decoder, `sampling` chooses a symbol: a draw depends on its seed, series,
  sample (of how many) and place
- `likelihood` says how probable the truth was
- `forecast` is one series' future, `dataset_forecast` those of a data set, `answers` their record;
  `holdout` holds them to the truth, `calibration/` corrects their intervals,
  `estimate` says how long they take

Nothing here knows of terminals or of training.
"""
