"""The requests of ModelScope's own client, each made once, and no answer taken for another than it is.

The client (version 0.5) tries again as long as a server asks it to, drops the wait that an answer of 503 asks for, and
takes an answer which says that something failed, with a status of success, for one which says that nothing is missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import requests
from modelscope_hub import HubApi, errors
from modelscope_hub._legacy_api import LegacyClient
from modelscope_hub._openapi import OpenAPIClient
from modelscope_hub.constants import API_CONNECTION_POOL_MAXSIZE, API_TIMEOUT
from modelscope_hub.utils import build_user_agent
from requests.adapters import HTTPAdapter

from pipeline.sources.hub_retry import asked_wait

if TYPE_CHECKING:
    from modelscope_hub.config import HubConfig

BATCH = "/info/lfs/objects/batch"
"""Where it is asked which contents are missing."""
SILENCE = max(API_TIMEOUT, 180)
"""Seconds to wait for an answer: a commit of two thousand files takes its time."""


class NotTakenError(errors.APIError):
    """One of the contents that were announced is refused."""


class Transport(LegacyClient):
    """The client's requests, each made once: whether and when it is made again is decided in one place."""

    def __init__(self, config: HubConfig) -> None:
        super().__init__(
            token=config.token,
            endpoint=str(config.endpoint),
            timeout=SILENCE,
            user_agent=build_user_agent(config=config),
        )
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=API_CONNECTION_POOL_MAXSIZE))
        for session in (self._session, self._read_session):
            session.hooks["response"].append(_refuse)

    @property
    def listed_in_part(self) -> bool:
        """Whether the last listing left something out, as the client found."""
        return bool(getattr(self._read_state, "listing_incomplete", False))

    def _json_data(self, resp: requests.Response) -> Any:
        """Return what an answer holds, unless it says, with a status of success, that it is none."""
        body = resp.json()
        if isinstance(body, dict):
            code = body.get("Code")
            if body.get("Success") is False or code not in (None, 200, "200"):
                number = int(str(code)) if str(code).isdigit() else 0
                resp.status_code = number if 400 <= number < 600 else 400
                _refuse(resp)
        if resp.url.endswith(BATCH):
            for one in body["Data"]["objects"]:
                if error := one.get("error"):
                    raise NotTakenError(str(error.get("message") if isinstance(error, dict) else error))
        return super()._json_data(resp)


class Api(HubApi):
    """The client over these requests."""

    def __init__(self, config: HubConfig) -> None:
        super().__init__(config)
        self.transport = Transport(config)
        session = requests.Session()
        session.hooks["response"].append(_refuse)
        self._once = OpenAPIClient(config, session=session, timeout=SILENCE, max_retries=1)

    @property
    def legacy(self) -> LegacyClient:
        """What makes most of the requests."""
        return self.transport

    @property
    def openapi(self) -> OpenAPIClient:
        """What makes the others."""
        return self._once


def _refuse(response: requests.Response, **_: Any) -> None:
    """Raise what an answer of failure says, with the wait that it asks for, which the client keeps for 429 only."""
    try:
        errors.raise_for_status(response)
    except errors.APIError as error:
        error.retry_after = asked_wait(response.headers.get("Retry-After"))  # type: ignore[attr-defined]
        raise
