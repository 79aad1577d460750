"""Sends requests for which the stack has no place to providers, within caps on what they may cost.

Does not decide which requests leave: the gateway does, and this service only refuses what it must never get.
"""
