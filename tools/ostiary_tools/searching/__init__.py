"""What a search is made of besides its store: conditions as agents write them, ranking, and which hits a caller has."""
