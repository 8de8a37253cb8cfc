"""How texts that a model has written are judged against texts that are right."""
