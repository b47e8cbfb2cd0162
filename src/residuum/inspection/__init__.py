"""Looking inside a Classifier in every way there is: a subject, a table of parts, and what each of them found."""
