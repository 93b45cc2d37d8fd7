"""The LLMTIME text form, its alphabet, its grammar and token windows. Knows nothing of models or training."""
