"""Every error the gateway raises on purpose, in one shallow tree.

    GatewayError                    500  api_error
    ├── BadRequest                  400  invalid_request_error
    ├── Unauthenticated             401  authentication_error
    ├── Forbidden                   403  permission_error
    ├── NotFound                    404  not_found_error
    │   └── ThreadMoved             404  not_found_error    another arm holds the conversation
    ├── Conflict                    409  conflict_error
    │   └── StaleWrite              409  conflict_error     somebody wrote first
    ├── TooLarge                    413  request_too_large
    │   └── HeadTooLarge            431  request_too_large
    ├── TooSlow                     408  timeout_error      the client stopped in the middle of its request
    ├── Unavailable                 503  overloaded_error   draining, no store for a write
    │   └── StoreUnavailable        503  overloaded_error
    ├── UpstreamError               502  api_error
    │   ├── ConnectFailed           502  api_error          no connection, nothing was sent
    │   ├── UpstreamTimeout         504  timeout_error      no first byte in time
    │   └── UpstreamBroken          502  api_error          the connection ended inside an answer
    │       └── Unanswered          502  api_error          … before one byte of an answer
    └── ConfigError                 exit code 2             a document or setting does not validate

Rules: a message is written for the person who receives it (what is wrong, where, what to do) and never holds
a credential or any text of a prompt; `kind` is the `error.type` of the Messages API's envelope and a closed
set, `code` its `error.details.error_code`, where clients act on one.
"""


class GatewayError(Exception):
    """Base of the tree. `message` reaches clients; anything else goes to the log as `__cause__`."""

    status: int = 500
    kind: str = "api_error"
    code: str = ""
    retryable: bool = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class BadRequest(GatewayError):
    """The request cannot be understood or is not allowed to say what it says."""

    status = 400
    kind = "invalid_request_error"


class Unauthenticated(GatewayError):
    """No credential, or one that is not known."""

    status = 401
    kind = "authentication_error"


class Forbidden(GatewayError):
    """A known caller whose role is too small."""

    status = 403
    kind = "permission_error"


class NotFound(GatewayError):
    """No such migration, model or path."""

    status = 404
    kind = "not_found_error"


class ThreadMoved(NotFound):
    """The conversation that the upstream holds is another model's; clients then bring it whole."""

    code = "thread_not_found"


class Conflict(GatewayError):
    """The present state does not allow this, and the message says why."""

    status = 409
    kind = "conflict_error"


class StaleWrite(Conflict):
    """A compare-and-set lost: the state moved on, or the writer's fencing epoch is old."""


class TooLarge(GatewayError):
    """The body is over the limit, before or after decoding."""

    status = 413
    kind = "request_too_large"


class HeadTooLarge(TooLarge):
    """The request line and headers are over the limit."""

    status = 431


class TooSlow(GatewayError):
    """The client did not go on with its request in time."""

    status = 408
    kind = "timeout_error"


class Unavailable(GatewayError):
    """Not now: try again, or ask another replica."""

    status = 503
    kind = "overloaded_error"
    retryable = True


class StoreUnavailable(Unavailable):
    """The store did not answer in time."""


class UpstreamError(GatewayError):
    """The upstream failed before an answer could be given."""

    status = 502
    retryable = True


class ConnectFailed(UpstreamError):
    """No connection to the upstream; not one byte of the request was sent."""


class UpstreamTimeout(UpstreamError):
    """The upstream sent no first byte in time."""

    status = 504
    kind = "timeout_error"


class UpstreamBroken(UpstreamError):
    """The upstream's connection ended before its answer did."""


class Unanswered(UpstreamBroken):
    """The upstream took the connection and closed it without one byte of an answer."""


class ConfigError(GatewayError):
    """A configuration document or setting does not validate; the message names the path and the reason."""
