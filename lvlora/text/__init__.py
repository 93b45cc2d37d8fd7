"""Trajectories as text and tokens; nothing here knows of models.

`scaling` brings values into a range that a model reads well, `codec` writes them as text and reads
them back, `alphabet` finds the text's symbols in a vocabulary, `grammar` says which symbol may come
next, `windows` cuts token windows for training, `inspection` shows all that for one series, and
`losses` says what rounding takes away.
"""
