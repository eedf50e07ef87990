"""Plans of the server: read strictly, weighed, and told as far as the caller may know them. Pure.

`plan` what the server answered · `weight` what it would cost and touch · `sight` what of it
a caller may know · `words` that in words · `advice` indexes that would help · `terms` a policy's bounds.
"""
