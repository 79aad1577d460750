"""Programs that the units of gateway and engine call: who listens on a port, and drain the engine in HAProxy.

None of them is in the path of a request.
"""
