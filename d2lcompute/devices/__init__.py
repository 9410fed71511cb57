"""Section 7, devices: which there are, what crosses over, and some to practise on."""
