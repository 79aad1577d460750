"""The models of a stack file: fields, their types, and rules within one model. They never import rules/."""
