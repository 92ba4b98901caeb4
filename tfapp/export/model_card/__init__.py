"""`model_card.md`: what a reader should know of an exported model, in words and tables.

Each module gathers the facts of some sections; the template holds their words. What no file of
the run tells, and nobody measured, is not on the card.

Source: the sections are those of M. Mitchell et al. 2019, "Model Cards for Model Reporting".
"""
