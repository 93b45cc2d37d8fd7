"""Distrust of files that come from strangers: model folders, GGUF files, tokenizers."""
