"""Base models and their adapters; nothing here knows of optimisers or terminals.

Begin with `loading`, which opens a model that `catalogue` has found; `choice` says which model and
which adapter belong together. The verbs are `export`, `tokenizing`.

- `distrust` checks model folders, `reading` reads plain ones, `gguf` makes one of a .gguf file;
  `adapters` has adapters in PEFT's layout
- `llama` has our own modules, with `attention`, `elementwise` and `cache`; what they don't cover is
  transformers'. The families are listed in `flops.shape`
- `native/` is the same decoder in C, for forecasts on a processor
- `head` names the parts that all families have, and restricts the output to the alphabet
- `lora` has the low-rank layers, and finds what is broken in a model
- `devices` knows the hardware
"""
