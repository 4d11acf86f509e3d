"""What a program costs: events counted from the program, and their energy by a technology table."""
