"""What runs beyond the wall, next to a student's code.

These modules import the standard library and ipykernel only, so that nothing slow or large, such as
torch, is loaded before the box is closed.
"""
