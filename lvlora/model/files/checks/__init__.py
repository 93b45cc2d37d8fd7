"""Distrust of files that come from strangers: a model's `folder`, and its `tokenizer`."""
