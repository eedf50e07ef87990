"""What columns seem to hold, by their names, types and some of their values: a proposal of tags, for a person to judge.

Values come in to be counted; none of them stands in anything that goes out.
"""
