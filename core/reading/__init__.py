"""Reading what people write: YAML and JSON, the base class and rules of models, secrets, and the words of an error.

Does not know the keys of any file: those are in the models of the packages that read it.
"""
