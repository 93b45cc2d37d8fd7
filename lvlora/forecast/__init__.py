"""Forecasts of series by a language model, alone or together with rivals.

Begin with `verb`: `forecast`, `next_step_density` and `price` are what `lvlora forecast` does, and
they read top to bottom. Programs begin with `open_model` and its `Forecaster`.

- `plan`: how histories will be read (`reading`) and what that costs at most (`pricing`); it needs
  no weights. `forecaster` is the plan with a model; what it spends is in `usage`
- `decoding` draws futures: `rows` says what each is fed under the grammar, `continuation` has a
  model read it, by PyTorch (`backbone`) or the native decoder, `sampling` chooses a symbol: a draw
  depends on its seed, series, sample (of how many) and place; `trace` is what was computed
- `likelihood` says how probable the truth was, `density` what the next values may be
- `forecast` is one series' future, `dataset_forecast` those of a data set, `answers` what is told
  of them; `files` writes them, `holdout` holds them to the truth, `calibration/` corrects their
  intervals, `together` mixes them with rivals', `estimate` says how long they take

Nothing here knows of terminals or of training.
"""
