"""What users are told outside tables: warnings, renamed arguments, numbers in words, notebook displays."""
