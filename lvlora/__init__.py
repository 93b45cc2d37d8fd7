"""lvlora: LoRA fine-tuning of small language models for trajectories written as text."""

__version__ = "0.1.0"
