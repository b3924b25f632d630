"""From messages of the broker's clients to orders for stations, and from their outcomes to results."""
