collect_ignore_glob = ["*.ipynb"]  # with stubs in place of solutions, the checks must fail
