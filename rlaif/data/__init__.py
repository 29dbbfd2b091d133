"""What people bring: questions, labels, candidates, preferences."""
