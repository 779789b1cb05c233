"""A client of the HTTP interface of tryon-workers, to call or to await."""

from tryon_client.client import AsyncClient, Client, TryonError

__all__ = ["AsyncClient", "Client", "TryonError"]
