"""Parts of several rivals.

`standardising` scales and smooths a history; `choosing` picks settings on it; `algebra` counts the
FLOPs of what it solves; `futures` draws futures around a forecast. `rates` is a library of
equations, which `fitting` fits to a history.
"""
