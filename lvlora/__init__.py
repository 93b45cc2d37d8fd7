"""lvlora: LoRA fine-tuning of small language models for trajectories written as text.

The public names stand in ``__init__.pyi``; docs/python.md shows them. A name is loaded when it is
first used: ``import lvlora`` imports nothing heavy.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, _names = lazy_loader.attach_stub(__name__, __file__)
__all__ = ["__version__", *_names]
