"""Model folders and GGUF files on disk: checked first, then read.

`folder` and `tokenizer` distrust every file, whoever reads it.

`llama` reads the families that we have modules for, `tokenizer` a numeric alphabet without
transformers; both give way to transformers where a folder holds anything else.
"""
