"""Compiled kernels: arrays in, arrays out, nothing known of graphs.

The floor that every program stands on. A `Kernel` reads its input cells and writes its
output cells; a `Program` runs kernels in order. Which kernel serves which Apply is the
business of `kroton.linking`.
"""
