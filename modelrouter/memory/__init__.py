"""Memory: the machine's budget and what a model needs of it. The only place that knows how Linux
counts.
"""
