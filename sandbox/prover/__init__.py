"""What can be said of a credit graph for every state of the card, without running it."""
