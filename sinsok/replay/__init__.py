"""Running the record again: the hops decide once more what they decided, with no effect on the outside world.

``collect.py`` takes the record of a period into a run's own file, ``story.py`` is what it says of one study,
``rerun.py`` lets the hops decide it again, ``compare.py`` says what became of it then and now, ``report.py`` tells
people. ``fence.py`` is why nothing leaves.
"""
