"""The evidence plane: what answers are worth, judged beside the data path and never in it."""
