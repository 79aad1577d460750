"""The models of a stack file: fields, types, and the rules within one model.

Rules that join several models are in `infra/config/rules/`; the models never import them.
"""
