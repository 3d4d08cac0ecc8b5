"""Tools that make the book; nothing here is needed to read or run it."""
