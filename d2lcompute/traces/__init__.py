"""What ran in a forward pass: made, recorded, named, folded, and shown as a table."""
