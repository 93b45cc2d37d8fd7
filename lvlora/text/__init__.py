"""Trajectories as text and tokens; nothing here knows of models.

`scaling` brings values into a range that a model reads well, `codec` writes them as text and reads
them back, `alphabet` finds tokens for it in a vocabulary, `grammar` says which symbol or token may
come next, `windows` cuts token windows for training, and `document` shows all of it for
`lvlora tokenize`.
"""
