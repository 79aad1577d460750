"""Dated facts with their sources: machine types, GPUs, model shapes, prices.

It reads tables and looks rows up. It calls no cloud and knows no stack.
"""
