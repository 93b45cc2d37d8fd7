"""Base models, attention, the head, LoRA and adapter files. Knows nothing of optimisers or terminals."""
