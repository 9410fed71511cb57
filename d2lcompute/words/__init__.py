"""What the library says in two languages: English in the code, the others in `.po` files."""
