"""What runs by itself: one controller per fleet; in each process its counts, and a way out alone."""
