"""The LLMTIME text form, its alphabet, its grammar, token windows. Knows no models."""
