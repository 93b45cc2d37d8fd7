"""Base models, attention, the head, LoRA, adapter files. Knows no optimisers, no terminals."""
