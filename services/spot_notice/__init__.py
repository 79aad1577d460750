"""Asks the cloud whether it takes this spot machine back, and if so drains and stops the engine in time.

Runs on spot hosts alone. Standard library only. Changes nothing itself: it writes files in /run/llm-notice.
"""
