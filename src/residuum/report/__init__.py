"""Tables, figures, pages and progress bars, from plain values."""
