"""Times servers of models, and calls of a model without a server, beside other ways to do so."""
