"""Silence is an alarm: what should be there and is not, looked for every few seconds."""
