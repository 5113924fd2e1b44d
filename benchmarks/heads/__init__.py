"""What ``head_ct.py`` measures with: heads, changes to them, our model in a process of its own, and the peer."""
