"""Linking: a kernel for each Apply, and a Program out of them."""
