"""Base models and their adapters; nothing here knows of optimisers or terminals.

Begin with `loading`, which opens a model that `catalogue` has found.

- `files/` reads and checks what is on disk; `adapters/` does so for adapters, in PEFT's layout
- `llama` has the modules of our own (the families that they cover are in `files/llama`), with
  `attention`, `elementwise` and `cache`; other families are transformers' (`transformers_cache`)
- `parts` names the parts that all families have; `head` restricts the output to the alphabet
- `lora` has the low-rank layers, `patterns` the regular expressions that choose them, `merging`
  writes adapter and base as one model
- `devices` and `machine` know the hardware; `soundness` finds what is broken in a model
"""
