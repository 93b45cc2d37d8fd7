"""Models in .gguf files (llama.cpp's format): read once, kept as an ordinary model folder.

`header` reads what a file says of itself, refuses what cannot be true and makes a config.json of
it; `conversion` makes a folder of that, tokenizer.json and safetensors, in the numbers that
transformers would give, and keeps it beside the hub's cache.
Llama and Qwen2 only: other families go through transformers, which reads them anew each time. Begin
with `conversion.converted`.
"""
