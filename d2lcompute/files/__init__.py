"""Section 6, files: how they are laid out, read, written, fitted to nets and restored into them."""
