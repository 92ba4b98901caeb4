"""Servers as people write them, each a program of its own: `python -m ... PORT FOLDER`.

FOLDER holds the numbered versions of a model; its name is the model's.
"""
