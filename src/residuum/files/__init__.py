"""Files that are whole or absent, locks that die with their process, downloads that resume."""
