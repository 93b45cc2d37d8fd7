"""Forecasts of series by a language model, alone or together with rivals.

Begin with `verb`: `forecast` and `price` are what `lvlora forecast` does, and they read top to
bottom. Programs begin with `open_model` (`language_model`) and its `Forecaster`.

- `forecaster`: a forecast, and who makes it at a price that is bounded before: a `language_model`,
  one of the `rivals`, or an `ensemble` of all
- `plan`: how a model reads histories (`reading`) and its price bound; it needs no weights.
  `pricing` has what was computed, its exact price, and what pays for it
- `decoding` draws futures under the grammar, `continuation` has a model read what they are fed, by
  PyTorch or the native decoder, `sampling` chooses a symbol: a draw depends on its seed, series,
  sample (of how many) and place
- `widths` corrects intervals, `likelihood` says how probable the truth was
- `dataset_forecast` has the forecasts of a data set and holds them to the truth, `answers` their
  record; `estimate` says how long they take; `panel` works on a folder of files

Nothing here knows of terminals or of training.
"""
