"""Text that came from outside, for people to read."""


def printable(text: str) -> str:
    """Text without what could steer a terminal, turn a page's direction, or not be encoded."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
