"""Section 2, parameters: find them by name, look at them, tie them."""
