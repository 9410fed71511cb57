"""The chapter's exercises: behavioural checks with hints, one file a section."""

from .checking import check as check
from .checking import list_exercises as list_exercises
from .checking import progress as progress
