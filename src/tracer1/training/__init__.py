"""One round after another: steps become scored groups, groups become updates, and a stopped run goes on where it stood.

The order of a round's stages is in `rounds.py` and `experience.py`, and only there. No stage is computed here.
"""
