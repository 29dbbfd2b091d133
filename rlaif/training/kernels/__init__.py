"""The trainer's tensor code; what `cpu_` begins is for CPUs alone.

Suffixes name the axes of a tensor, in their order; each module lists its letters.
"""
