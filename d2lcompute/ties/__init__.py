"""How ties are made, kept on lazy layers, restored and counted use by use."""
