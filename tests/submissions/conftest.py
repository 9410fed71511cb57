collect_ignore_glob = ["*.ipynb"]  # they are graded, in test_assignment.py
