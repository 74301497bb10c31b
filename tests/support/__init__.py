"""What tests share: clocks that are moved by hand, and the checks of the project's own rules."""
