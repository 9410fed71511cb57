"""Grading with nbval: fast, fair and hard to forge."""

from .answers import answer as answer
