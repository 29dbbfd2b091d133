"""Input data of users: questions, candidates, labels, preferences, demonstrations and ratings."""
