"""Compiling: from an expression to a callable."""
