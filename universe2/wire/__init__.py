"""The wire codec: spaces, values and batches to frames and back, without gRPC.

Decoding anything raises ProtocolError or succeeds, in memory bounded by the message's size.
"""
