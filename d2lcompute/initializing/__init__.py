"""How initializers fill parameters, now or when they get a shape."""
