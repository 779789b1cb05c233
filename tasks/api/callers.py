"""Who calls: the key of a request, its tenant, and how many requests it may make."""

import time
from dataclasses import dataclass, field

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from config.settings import settings
from db import keys
from db.models import DEFAULT_TENANT
from tasks.api.problems import ProblemError

COOKIE = "tryon_key"
"""The cookie in which the page keeps the key that a person has signed in with."""

KEY_CACHE_S = 2.0
"""How long an answer of the database about keys is used, seconds: a revoked one ends this soon."""

MAX_CACHED_KEYS = 1000

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
"""Names under which a client reaches a server on the same machine."""

_PROXY_HEADERS = ("forwarded", "x-forwarded-for", "x-real-ip")

LOCAL = keys.Key(id="local", tenant=DEFAULT_TENANT, input_prefix="")
"""The caller on this machine while no key was made."""


@dataclass
class Bucket:
    """A token bucket: `rate` requests a second, and as many at once as two seconds give."""

    rate: float
    tokens: float
    filled_at: float

    def take(self, now: float) -> float:
        """Take a token; return after how many seconds one is there, 0 when it was taken."""
        self.tokens = min(2 * self.rate, self.tokens + (now - self.filled_at) * self.rate)
        self.filled_at = now
        if self.tokens < 1:
            return (1 - self.tokens) / self.rate
        self.tokens -= 1
        return 0.0


@dataclass
class Callers:
    """Checks the keys of requests.

    Attributes:
        keys_required: whether every request needs a key; False: until a key was made.
    """

    keys_required: bool
    _keys_exist: tuple[float, bool] = (0.0, True)
    """Until when an answer of the database is used, and the answer."""
    _found: dict[str, tuple[float, keys.Key | None]] = field(default_factory=dict)
    _buckets: dict[str, Bucket] = field(default_factory=dict)

    async def caller(self, request: Request) -> keys.Key:
        """Return who calls. Raises ProblemError: no key, a wrong or revoked one, too many requests."""
        sent = _sent_key(request)
        found = await self._anonymous(request) if sent is None else await self.find(sent)
        if found is None:
            raise ProblemError(
                "AuthenticationError",
                401,
                "The request needs an API key: Authorization: Bearer KEY."
                if sent is None
                else "The API key is not valid, or it was revoked.",
                headers={"WWW-Authenticate": 'Bearer realm="tryon"'},
            )
        self._count(found.id)
        return found

    async def _anonymous(self, request: Request) -> keys.Key | None:
        now = time.monotonic()
        if now >= self._keys_exist[0]:
            self._keys_exist = (now + KEY_CACHE_S, await run_in_threadpool(keys.keys_exist))
        if self.keys_required or self._keys_exist[1]:
            return None
        _require_local(request)
        return LOCAL

    async def find(self, sent: str) -> keys.Key | None:
        """Return the key that a client sent; None when it is not valid."""
        now = time.monotonic()
        until, found = self._found.get(sent, (0.0, None))
        if now < until:
            return found
        found = await run_in_threadpool(keys.find_key, sent)
        if len(self._found) >= MAX_CACHED_KEYS:
            self._found.clear()
        if found is not None:  # guesses fill no memory
            self._found[sent] = (now + KEY_CACHE_S, found)
        else:
            self._found.pop(sent, None)
        return found

    def _count(self, key_id: str) -> None:
        rate = settings().api_rate_per_s
        if rate is None:
            return
        now = time.monotonic()
        bucket = self._buckets.setdefault(key_id, Bucket(rate, 2 * rate, now))
        wait_s = bucket.take(now)
        if wait_s:
            raise ProblemError(
                "RateLimitError",
                429,
                f"More than {rate:g} requests a second (TRYON_API_RATE_PER_S); try again later.",
                retryable=True,
                headers={"Retry-After": str(int(wait_s) + 1)},
            )


def _require_local(request: Request) -> None:
    """Raise ProblemError unless a request without a key was sent to this machine itself.

    A web page could reach the server through a name of its own that it points to 127.0.0.1, and a proxy could
    open the server to everybody.
    """
    if request.url.hostname not in LOOPBACK_NAMES:
        wrong = "answers on 127.0.0.1 and localhost only"
    elif any(name in request.headers for name in _PROXY_HEADERS):
        wrong = "answers no proxy"
    else:
        return
    raise ProblemError(
        "AuthenticationError",
        403,
        f"Without API keys this server {wrong}: make a key with `tryon keys add TENANT`.",
    )


def _sent_key(request: Request) -> str | None:
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and value:
        return value.strip()
    return request.cookies.get(COOKIE)


async def caller_of(request: Request) -> keys.Key:
    """Return who calls; a dependency of the routes."""
    callers: Callers = request.app.state.callers
    return await callers.caller(request)
