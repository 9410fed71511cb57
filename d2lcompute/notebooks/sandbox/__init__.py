"""What runs beyond the wall, next to a student's code.

Started as a package of its own (`sandbox`, see `processes.py`), so that nothing of d2lcompute or
torch is imported before the walls stand: these modules import the standard library and ipykernel.
"""
