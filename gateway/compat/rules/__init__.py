"""The rules, one family a module: what a request says that the target does not take, or takes otherwise."""
