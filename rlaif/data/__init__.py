"""Input data of users: questions, candidates, labels and preferences."""
