"""Dead letters, and what people do with them: read, sent back to where they came from, or discarded.

Read in this order: letter.py (what a letter says of itself), box.py (which there are, and what became of each),
contents.py (its bytes, for people), acts.py (what people do), post.py (Kafka).
"""
