"""The decoder of Llama and Qwen2 in C, for forecasts on a CPU.

building    compiling decoder.c with the machine's own compiler, once
engine      the compiled decoder: tokens of many rows in, logits out
decoder.c   what it computes: elements.h has vectors of the processor, products.h products with
            weights, engine.h models and threads, segments.h the memory of keys and values, layer.h
            and attention.h the parts of a layer
"""
