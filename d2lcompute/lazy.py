"""Deferred initialization: which shapes are not known yet, and how a net learns them."""

from __future__ import annotations

from .dryrun import dry_run as dry_run
from .dryrun import meta_twin as meta_twin
