"""Sends webhooks by the Standard Webhooks specification (standardwebhooks.com); needs the extra `api`.

One event loop with a time limit around each delivery: a receiver can be slow in any way without blocking the
others, and no stage waits for any of them.
"""

import asyncio
import logging
import random
from datetime import UTC, datetime
from urllib.parse import urlsplit

import httpx
from standardwebhooks import Webhook

from config.settings import settings
from db import webhooks
from db.session import DatabaseUnavailableError
from db.webhooks import Delivery
from worker.queue import receivers

log = logging.getLogger(__name__)

AT_ONCE = 32
"""Deliveries that are under way at a time."""

POLL_S = 0.5
"""Interval between two looks for deliveries that are due, seconds."""

LEASES_PER_TIMEOUT = 3
"""Length of a lease in time limits of a delivery: it covers the delivery and the database's transactions."""

MAX_DELAY_S = 6 * 3600
"""Longest delay between two attempts, seconds."""

JITTER = 0.2
"""Share of a delay that is random, so that deliveries that failed together do not come back together."""

PRUNE_INTERVAL_S = 3600
"""Interval between two deletions of old deliveries, seconds."""

GONE = 410
"""The status code with which a receiver says that it wants no further events."""

MAX_ANSWER_LENGTH = 500
"""Characters that are kept of why an attempt failed."""


async def run(stop: asyncio.Event) -> None:
    """Deliver until `stop` is set; deliveries under way are finished. A database that is away is survived."""
    under_way: set[asyncio.Task[None]] = set()
    loop = asyncio.get_running_loop()
    prune_at = loop.time()
    async with _client() as client:
        while not stop.is_set():
            try:
                claimed = await _claim(AT_ONCE - len(under_way))
                if loop.time() >= prune_at:
                    prune_at = loop.time() + PRUNE_INTERVAL_S
                    await asyncio.to_thread(webhooks.prune)
            except DatabaseUnavailableError as error:
                log.warning("No webhooks are sent: %s", error)
                claimed = []
            for delivery in claimed:
                task = asyncio.create_task(_deliver(client, delivery))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
            if not claimed:
                await _pause(stop)
            elif len(under_way) >= AT_ONCE:
                await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.gather(*under_way)


async def _claim(limit: int) -> list[Delivery]:
    lease_s = LEASES_PER_TIMEOUT * settings().webhook_timeout_s
    return await asyncio.to_thread(webhooks.claim, limit=limit, lease_s=lease_s) if limit > 0 else []


async def _pause(stop: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(POLL_S):
            await stop.wait()
    except TimeoutError:
        return


async def _deliver(client: httpx.AsyncClient, delivery: Delivery) -> None:
    """Deliver one event and record what became of it."""
    try:
        code, answer = await _send(client, delivery)
        if code is not None and 200 <= code < 300:
            await asyncio.to_thread(webhooks.mark_delivered, delivery, answer)
            log.info("Webhook %s delivered", delivery.id)
            return
        delay_s = None if code == GONE else retry_delay_s(delivery.attempt)
        await asyncio.to_thread(webhooks.mark_failed, delivery, answer, retry_after_s=delay_s)
        next_step = "it is dead" if delay_s is None else f"next attempt in {delay_s:.0f} s"
        log.warning("Webhook %s, attempt %d: %s; %s", delivery.id, delivery.attempt, answer, next_step)
    except DatabaseUnavailableError as error:
        log.warning("Webhook %s is sent again after its lease: %s", delivery.id, error)


async def _send(client: httpx.AsyncClient, delivery: Delivery) -> tuple[int | None, str]:
    """Send an event; return the status code of the answer (None: no answer) and what to record."""
    try:
        async with asyncio.timeout(settings().webhook_timeout_s):
            request = await _request(client, delivery)
            response = await client.send(request, stream=True)
            await response.aclose()  # its body is of no interest, and may be endless
    except TimeoutError:
        return None, f"no answer within {settings().webhook_timeout_s:g} s"
    except (httpx.HTTPError, httpx.InvalidURL, OSError, receivers.ForbiddenReceiverError) as error:
        return None, f"{type(error).__name__}: {error}"[:MAX_ANSWER_LENGTH]
    return response.status_code, f"status {response.status_code}"


async def _request(client: httpx.AsyncClient, delivery: Delivery) -> httpx.Request:
    """Return the signed request, addressed to the checked address of the receiver and not to its name."""
    parts = urlsplit(delivery.url)
    host = str(parts.hostname)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    address = await asyncio.to_thread(receivers.resolve, host, port)
    secret = await asyncio.to_thread(webhooks.secret_of, delivery.tenant)
    now = datetime.now(UTC)
    return client.build_request(
        "POST",
        httpx.URL(delivery.url).copy_with(host=address),
        content=delivery.body.encode(),
        headers={
            "Host": parts.netloc,
            "Content-Type": "application/json",
            "User-Agent": "tryon-workers",
            "webhook-id": delivery.id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(secret).sign(delivery.id, now, delivery.body),
        },
        extensions={"sni_hostname": host},  # the certificate must be the host's
    )


def retry_delay_s(attempt: int) -> float | None:
    """Return the delay after a failed attempt, seconds; it doubles. None when it was the last attempt."""
    if attempt >= settings().webhook_max_attempts:
        return None
    delay_s = min(MAX_DELAY_S, settings().webhook_backoff_s * 2.0 ** (attempt - 1))
    return delay_s * (1 + JITTER * (random.random() - 0.5))  # noqa: S311 - only spreads the load


def _client() -> httpx.AsyncClient:
    """Return a client that follows no redirect, reads no proxy settings, and keeps no connection."""
    return httpx.AsyncClient(
        follow_redirects=False,
        trust_env=False,
        timeout=settings().webhook_timeout_s,
        limits=httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=0),
    )
