"""Rewriting: the graph that was written becomes the program that is run."""
