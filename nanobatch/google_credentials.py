"""Signs requests to Google Cloud with the credentials that the machine already has. The only door to google-auth.

These "application default credentials" are the file that GOOGLE_APPLICATION_CREDENTIALS names, what
`gcloud auth application-default login` left behind, or the service account of a machine in Google's cloud
(https://cloud.google.com/docs/authentication/application-default-credentials). The library blocks and is optional, so
it is imported when it is needed and works in a thread.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import importlib
import logging
import math
import os
import warnings
from collections.abc import Mapping
from typing import Any

from nanobatch.clock import Clock, SystemClock
from nanobatch.errors import AccountStopped, ConfigError, NanobatchError, NoProvider, Unsent
from nanobatch.providers.sentences import clean, said

REFRESH_BEFORE_SECONDS = 300.0  # a request that waits or is long on its way still arrives with a token that counts
TOKEN_TIMEOUT_SECONDS = 20.0
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_FILE_VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"
_PROJECT_VARIABLES = ("GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT")
_UNREADABLE = (OSError, ValueError, TypeError, KeyError, AttributeError)  # what the library lets through


class GoogleCredential:
    """Gives each request of a run its authorization, and fetches a new token before the old one expires.

    >>> credential = GoogleCredential()
    >>> async def signed():
    ...     return await credential.headers()  # {"authorization": "Bearer ..."}
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._lock = asyncio.Lock()
        self._credentials: Any = None
        self._headers: Mapping[str, str] = {}
        self._use_until = -math.inf  # in wall seconds
        self._failure: NanobatchError | None = None  # of the last refresh

    def __repr__(self) -> str:
        return f"GoogleCredential(has_token={bool(self._headers)})"

    async def headers(self) -> Mapping[str, str]:
        """Return the headers that sign a request. One refresh serves all who wait for it, also one that fails.

        Raises:
            ConfigError: google-auth is not installed, or the file with the credentials cannot be used.
            NoProvider: This machine has no credentials.
            AccountStopped: Google does not accept them.
            Unsent: Google cannot be reached.
        """
        failure = self._failure
        if not self._is_fresh():
            async with self._lock:
                if not self._is_fresh():
                    await self._refresh(failure)
        return self._headers

    def _is_fresh(self) -> bool:
        return self._clock.wall() < self._use_until

    async def _refresh(self, known: NanobatchError | None) -> None:
        """Fetch a token, unless somebody tried while this caller waited: then `known` is not the last failure."""
        if self._failure is not None and self._failure is not known:
            raise type(self._failure)(self._failure.message)
        try:
            self._credentials, token = await asyncio.to_thread(_fetched, self._credentials)
        except NanobatchError as error:
            self._failure = error
            raise
        project = self._credentials.quota_project_id
        self._headers = {"authorization": f"Bearer {token}"} | ({"x-goog-user-project": project} if project else {})
        self._use_until = _use_until(self._credentials.expiry, self._clock.wall())


def project_of() -> str | None:
    """Return the project that the environment or the credentials name; None where neither does.

    Raises:
        ConfigError: google-auth is not installed, or the file with the credentials cannot be used.
        NoProvider: This machine has no credentials.
    """
    named = next((os.environ[name] for name in _PROJECT_VARIABLES if os.environ.get(name)), None)
    return named or _found()[1] or None


def _use_until(expiry: dt.datetime | None, now: float) -> float:
    """Return until when a token is used, in wall seconds; one with a short life, for half of it."""
    if expiry is None:
        return math.inf
    left = expiry.replace(tzinfo=dt.UTC).timestamp() - now  # the library's times are UTC without saying so
    return now + max(left - REFRESH_BEFORE_SECONDS, left / 2)


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ConfigError("credentials of Google Cloud need another package: pip install 'nanobatch[vertex]'") from None


def _found() -> tuple[Any, str | None]:
    """Return this machine's credentials, without a token yet, and the project that they name."""
    auth, kinds = _library("google.auth"), _library("google.auth.exceptions")
    logging.getLogger("google.auth").setLevel(logging.ERROR)  # the console belongs to the reporters
    try:
        with warnings.catch_warnings(action="ignore"):  # that gcloud's own credentials have no quota project
            credentials, project = auth.default(scopes=[_SCOPE])
    except (kinds.GoogleAuthError, *_UNREADABLE) as error:
        if os.environ.get(_FILE_VARIABLE):
            raise ConfigError(f"{_FILE_VARIABLE} names a file that cannot be used{_why(error)}") from None
        raise NoProvider(
            "this machine has no usable credentials of Google Cloud; run `gcloud auth application-default login`, "
            f"or let {_FILE_VARIABLE} name a file with the key of a service account"
        ) from None
    return credentials, project


def _fetched(credentials: Any) -> tuple[Any, str]:
    """Return credentials with a new token. Blocks."""
    kinds, transport = _library("google.auth.exceptions"), _library("google.auth.transport.requests")
    credentials = credentials or _found()[0]
    try:
        credentials.refresh(functools.partial(transport.Request(), timeout=TOKEN_TIMEOUT_SECONDS))
    except kinds.GoogleAuthError as error:
        # What Google sent may hang on the error beneath, and it may hold a token: so it is not kept as the cause.
        if _is_passing(error, kinds):
            raise Unsent(f"Google's token service cannot be reached{_why(error)}") from None
        raise AccountStopped(f"Google does not accept the credentials of this machine{_why(error)}") from None
    except OSError as error:
        raise Unsent(f"Google's token service cannot be reached{said(clean(str(error)))}") from None
    except _UNREADABLE:
        raise Unsent("Google's token service answers with something that is no token") from None
    if not isinstance(credentials.token, str) or not credentials.token:
        raise Unsent("Google's token service answers without a token")
    return credentials, credentials.token


def _is_passing(error: Any, kinds: Any) -> bool:
    """Whether the network or Google's servers are the trouble. Some credentials wrap the network's error in theirs."""
    network = (kinds.TransportError, kinds.TimeoutError)
    return bool(error.retryable) or isinstance(error, network) or isinstance(error.__cause__, network)


def _why(error: BaseException) -> str:
    """Return the library's own sentence; what else hangs on its errors may hold a token."""
    return said(clean(str(error.args[0]))) if error.args else ""
