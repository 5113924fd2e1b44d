"""Alerts out: the people on call are told over their channels, and what the far sides said becomes events."""
