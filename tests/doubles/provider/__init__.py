"""A Pulumi resource provider over gRPC that a cloud's double fills with kinds of resources. Knows no cloud.

values   Struct <-> Python, with the engine's marks for unknown and secret values
schema   what the vendor's SDK says about inputs and outputs: the only source of names and types
kind     what a double has to say about one kind of resource
diff     old and new inputs -> what changes, and which changes replace the resource
server   the gRPC service, and the handshake by which the engine starts it
plugin   puts a launcher where the engine looks for the vendor's plugin
"""
