"""What a stack costs: its list prices, and the hours in which its machines run.

Calls no cloud. The prices themselves are facts in catalog/prices.py.
"""
