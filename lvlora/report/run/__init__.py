"""The page of a training run: `record` reads the run's folder, `page` puts the page together.

`training` draws the course of the run, `forecasts` shows its validation.
"""
