"""The trainer's tensor code; the modules named `cpu_...` are for CPUs only.

Suffixes name the axes of a tensor, in their order; each module lists its letters.
"""
