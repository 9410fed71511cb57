"""From the calls of a net to its picture: a graph, boxes with places, and what paints them."""
