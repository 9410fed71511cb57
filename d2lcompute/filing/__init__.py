"""How files are laid out, read, written, fitted to nets and restored into them."""
