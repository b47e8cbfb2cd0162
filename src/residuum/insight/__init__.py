"""What a net does inside: functions of a net and a batch that return named arrays. Nothing here draws or trains."""
