"""Grading with nbval: fast, fair and hard to forge."""

from .answers import answer as answer
from .answers import seed as seed
