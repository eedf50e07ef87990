"""What can be done with a collection besides searching and filling it, as parts of the tool `manage_collection`."""
