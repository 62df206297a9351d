"""What is secret in environments, arguments and other text, and what is shown in its place.

Pure: no I/O, no clock, imports no edge. What detect-secrets imports it imports at the first question.
"""
