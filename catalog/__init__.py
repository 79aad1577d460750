"""Dated facts that nobody computes: machine types, GPUs, model shapes, prices.

Reading and looking up only; asks no cloud and knows no stack.
"""
