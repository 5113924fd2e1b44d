"""The audit trail: every record on every event topic, in chains that nobody can change unnoticed."""
