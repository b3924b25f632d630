"""What the endpoint is held against: two of them, a wire that does all a wire can do, and a book kept on each."""
