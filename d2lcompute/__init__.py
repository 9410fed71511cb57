"""The Deep Learning Computation chapter of Dive into Deep Learning, to import and to poke."""
