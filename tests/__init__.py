"""The tree mirrors the package: `gateway/core/assign.py` is proven in `tests/core/test_assign.py`."""
