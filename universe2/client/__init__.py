"""The client: a Runtime whose slots live on one server or several."""

from universe2.client.placement import open_remote, open_together, server_info

__all__ = ["open_remote", "open_together", "server_info"]
