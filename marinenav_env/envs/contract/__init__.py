"""What both worlds share: numbers, names, shapes and the episode file."""
