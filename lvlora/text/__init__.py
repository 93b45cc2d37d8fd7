"""Trajectories as text and tokens; nothing here knows of models.

`scaling` brings values into a range that a model reads well, `codec` writes them as text, in the
tokens of a vocabulary, and reads them back, `grammar` says which symbol or token may come next, and
`windows` cuts token windows for training.
"""
