"""Faults, planted one at a time, that DebugMode must find and FAST_RUN does not notice."""
