"""The contracts of sinsok: every event, topic, coded concept and model interface.

Imports pydantic and the standard library only, so that anybody may read sinsok's topics with this package alone.
"""
