"""Seeing what is inside a net: traces, pictures, plots, gradients by use, findings."""
