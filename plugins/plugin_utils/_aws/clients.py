# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Clients of AWS services, created when first used. What is not set here comes from the AWS configuration."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from .._core.errors import ImmutableError, ProviderError
from .actions import action_of

ATTEMPTS = 4  # of one call, with botocore's adaptive retry, which slows the caller down when AWS throttles it
CONNECT, READ = 5, 25  # seconds
PAUSES = 15  # seconds between all attempts together
LONGEST_CALL = float(ATTEMPTS * (CONNECT + READ) + PAUSES)  # seconds that a lease must last when a call begins
SERVICE_KEY = "ImmutableService"  # in an answer's metadata
SESSION = "immutable-infra"  # how a role's session is named in CloudTrail


@dataclass(frozen=True)
class Account:
    """Where calls go, and with which identity. "" means the value of the environment, profile or configuration."""

    region: str = ""
    profile: str = ""
    role: str = ""  # ARN of a role to assume
    endpoint_url: str = ""
    external_id: str = ""  # that the role's trust policy asks for

    def in_region(self, region: str) -> Account:
        return replace(self, region=region)


class Clients:
    """The clients of one account, such as ``Clients(account).ec2``. Several threads may share them."""

    def __init__(self, account: Account) -> None:
        self.account = account

    def client(self, service: str, attempts: int = ATTEMPTS) -> Any:
        """The client of a service.

        Args:
            attempts: of one call; fewer if another call can react better to a refusal.

        Raises ProviderError if boto3 is missing or no region is configured.
        """
        return _client(self.account, service, attempts)

    @property
    def ec2(self) -> Any:
        return self.client("ec2")

    @property
    def region(self) -> str:
        return str(self.ec2.meta.region_name)

    def in_region(self, region: str) -> Clients:
        return self if region in ("", self.account.region) else Clients(self.account.in_region(region))

    @functools.cached_property
    def account_id(self) -> str:
        """The account's ID, without a call if a role names it. Raises ProviderError."""
        if self.account.role:
            return self.account.role.split(":")[4]
        with aws_errors():
            return str(self.client("sts").get_caller_identity()["Account"])


@functools.cache
def _client(account: Account, service: str, attempts: int) -> Any:
    boto3, botocore = _sdk()
    with aws_errors():
        session = _session(account)
        settings = botocore.config.Config(
            retries={"mode": "adaptive", "total_max_attempts": attempts},
            connect_timeout=CONNECT,
            read_timeout=READ,
            user_agent_extra="immutable.infra",
        )
        client = session.client(service, endpoint_url=account.endpoint_url or None, config=settings)
        client.meta.events.register("after-call", _name_service)
        return client


def _name_service(parsed: dict[str, Any], model: Any, **_rest: Any) -> None:
    """Add the service to an answer's metadata: botocore's errors name only the operation."""
    parsed.setdefault("ResponseMetadata", {})[SERVICE_KEY] = model.service_model.signing_name


@functools.cache
def _session(account: Account) -> Any:
    """One session for all services of an account. Credentials of a role are renewed before they expire."""
    boto3, botocore = _sdk()
    session = boto3.Session(region_name=account.region or None, profile_name=account.profile or None)
    if not account.role:
        return session
    from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials

    core = botocore.session.Session(profile=account.profile or None)

    def client_creator(service: str, **kwargs: Any) -> Any:
        return session.client(
            service, endpoint_url=account.endpoint_url or None, **{"region_name": session.region_name, **kwargs}
        )

    arguments = {"RoleSessionName": SESSION, **({"ExternalId": account.external_id} if account.external_id else {})}
    fetcher = AssumeRoleCredentialFetcher(client_creator, session.get_credentials(), account.role, extra_args=arguments)
    core._credentials = DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")  # noqa: SLF001  botocore offers no public way
    return boto3.Session(botocore_session=core, region_name=session.region_name)


def _drop_clients() -> None:
    """A forked worker must not use its parent's connections, nor wait for locks that the parent's threads held."""
    _client.cache_clear()
    _session.cache_clear()


os.register_at_fork(after_in_child=_drop_clients)


def _sdk() -> tuple[Any, Any]:
    try:
        import boto3
        import botocore.config
        import botocore.exceptions
        import botocore.session
    except ImportError as error:
        raise ProviderError(
            f"AWS needs the Python packages boto3 and botocore on the controller: {error} (pip install boto3)"
        ) from error
    return boto3, botocore


@contextmanager
def aws_errors(error_type: type[ImmutableError] = ProviderError, doing: str = "") -> Iterator[None]:
    """Turn an error of AWS or botocore into ``error_type``, naming the IAM action where permission is missing.

    The details carry ``code`` (AWS's error code, or the name of botocore's exception) and ``operation``.
    A ProviderError has its typed attributes as well.

    Args:
        doing: what the call was for, such as "launching 2 instances"; the message begins with it.
    """
    botocore = _sdk()[1]
    before = f"{doing}: " if doing else ""
    try:
        yield
    except botocore.exceptions.ClientError as error:
        attributes: dict[str, Any] = {}
        if issubclass(error_type, ProviderError):
            attributes["permanent"] = code_of(error) in (*DENIED, *EXPIRED)
            attributes["token_spent"] = code_of(error) == TOKEN_SPENT
        raise error_type(
            before + _refusal(error), code=code_of(error), operation=error.operation_name, **attributes
        ) from error
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.HTTPClientError) as error:
        raise error_type(f"{before}{error}", code=type(error).__name__, operation="") from error


DENIED = ("UnauthorizedOperation", "AccessDenied", "AccessDeniedException", "Client.UnauthorizedOperation")
EXPIRED = (
    "ExpiredToken",
    "ExpiredTokenException",
    "RequestExpired",
    "InvalidClientTokenId",
    "AuthFailure",
    "UnrecognizedClientException",
)
# RunInstances says so of a token whose instances are terminated.
TOKEN_SPENT = "IdempotentInstanceTerminated"  # noqa: S105  no secret
NOT_OWNED = "AuthFailure"  # EC2 also says so of another account's resources, such as an AMI that is not shared


def code_of(error: Any) -> str:
    """AWS's error code of a botocore ClientError."""
    return str(error.response.get("Error", {}).get("Code", ""))


def _refusal(error: Any) -> str:
    code, operation = code_of(error), error.operation_name
    message = str(error.response.get("Error", {}).get("Message", "")).strip() or "no message"
    text = f"AWS refused {operation}: {message} ({code})"
    if code in DENIED:
        service = error.response.get("ResponseMetadata", {}).get(SERVICE_KEY, "")
        action = action_of(service, operation) if service else operation
        return (
            f"{text}; allow the action {action} for the identity that runs this "
            "(see the policy in docs/reference/aws-policy.json)"
        )
    if code in EXPIRED and not (code == NOT_OWNED and "credentials" not in message):
        return f"{text}; renew the credentials and run again to resume"
    return text
