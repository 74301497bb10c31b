"""Who hears of a migration's changes, what is said, and how it is kept from getting lost on the way."""
