"""Notebooks, run and compared: the chapter's, and anybody's with `pytest --d2l`."""
