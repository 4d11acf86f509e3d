"""The compiler: from an integer layer to the program image that every engine runs."""
