"""Turn errors of S3 and boto3 into ours."""

from __future__ import annotations

from typing import Final

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    MetadataRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
    ResponseStreamingError,
    SSOError,
    TokenRetrievalError,
)
from botocore.exceptions import ConnectionError as BotoConnectionError

from raycolor.errors import StorageError

_NO_CREDENTIALS: Final = (
    NoCredentialsError,
    PartialCredentialsError,
    CredentialRetrievalError,
    MetadataRetrievalError,
    SSOError,
    TokenRetrievalError,
)

_NOT_FOUND: Final = frozenset({"NoSuchKey", "NoSuchBucket", "NoSuchVersion", "NotFound", "404"})
_DENIED: Final = frozenset(
    {"AccessDenied", "RequestTimeTooSkewed", "AllAccessDisabled", "AccountProblem", "403", "401"}
    | {"AuthorizationHeaderMalformed", "PermanentRedirect"}
)
# Answers to credentials: these are then looked for again, as somebody may have renewed them.
_CREDENTIALS: Final = frozenset(
    {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "TokenRefreshRequired"}
)
_TRANSIENT: Final = frozenset(
    {"SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout", "Throttling", "ThrottlingException"}
    | {"RequestLimitExceeded", "BandwidthLimitExceeded", "ConditionalRequestConflict", "OperationAborted"}
)
_FIXES: Final = {
    "NoSuchBucket": "the bucket does not exist: check its name and the region",
    "InvalidAccessKeyId": "the access key is unknown: check AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "the secret key does not match: check AWS_SECRET_ACCESS_KEY",
    "ExpiredToken": "the session token has expired: sign in again",
    "RequestTimeTooSkewed": "the clock of this machine is wrong: set it",
    "KMS.DisabledException": "the KMS key is disabled: enable it",
    "KMS.NotFoundException": "the KMS key does not exist: check its name and region",
    "KeyTooLongError": "the key is longer than 1,024 bytes: shorten the file name",
    "EntityTooLarge": "the object is larger than this store takes in one piece",
}


def code_of(exc: ClientError) -> str:
    """Return the code of an answer, such as `NoSuchKey`; of a HEAD it is the status."""
    return str(exc.response.get("Error", {}).get("Code", ""))


def storage_error(exc: BotoCoreError | ClientError | OSError, what: str) -> StorageError:
    """Turn an exception of boto3, or of a socket below it, into ours."""
    if isinstance(exc, ClientError):
        code = code_of(exc)
        status = int(exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        message = " ".join(str(exc.response.get("Error", {}).get("Message", "")).split())
        detail = f"{what}: {_FIXES.get(code) or message or 'refused'} ({code or status})"
        if code == "InvalidObjectState":
            return StorageError("archived_storage_class", f"{what}: in an archive storage class: restore it first")
        if code in _NOT_FOUND or status == 404:
            if code == "NoSuchBucket":
                return StorageError("not_found", detail, place=True)
            return StorageError("not_found", f"{what}: no such object")
        if code in _DENIED | _CREDENTIALS or code.startswith("KMS.") or status in (401, 403):
            return StorageError("access_denied", detail, place=True)
        return StorageError("storage_error", detail, transient=code in _TRANSIENT or status >= 500 or status == 429)
    if isinstance(exc, NoCredentialsError | PartialCredentialsError):
        fix = "no AWS credentials found: set AWS_ACCESS_KEY_ID or attach a role"
        return StorageError("access_denied", f"{what}: {fix}", place=True)
    if isinstance(exc, _NO_CREDENTIALS):
        fix = f"AWS credentials cannot be renewed ({' '.join(str(exc).split())}): sign in again"
        return StorageError("access_denied", f"{what}: {fix}", place=True)
    transient = isinstance(
        exc, BotoConnectionError | HTTPClientError | ResponseStreamingError | IncompleteReadError | OSError
    )
    return StorageError("storage_error", f"{what}: {' '.join(str(exc).split())}", transient=transient)


def asks_for_credentials(exc: BaseException) -> bool:
    """Whether credentials are missing, or were refused as such: somebody may have renewed them since."""
    return isinstance(exc, _NO_CREDENTIALS) or (isinstance(exc, ClientError) and code_of(exc) in _CREDENTIALS)
