"""The error for a refused request, with a canonical code that REST and gRPC both can express."""

INVALID_ARGUMENT = "INVALID_ARGUMENT"
NOT_FOUND = "NOT_FOUND"
RESOURCE_EXHAUSTED = "RESOURCE_EXHAUSTED"
DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
UNAVAILABLE = "UNAVAILABLE"
INTERNAL = "INTERNAL"
UNIMPLEMENTED = "UNIMPLEMENTED"
_LONGEST = 1000


class Refusal(Exception):
    """An error that ends the handling of one request; its code and message are sent to the client.

    Args:
        code: One of the codes of this module.
        message: What is wrong, in the words of TensorFlow Serving if it has a message for the case.
    """

    def __init__(self, code: str, message: str):
        message = cut(message)
        super().__init__(message)
        self.code = code
        self.message = message


def cut(message: str) -> str:
    """Return a message as it is sent: what a request holds is shown in part, however long it is."""
    return message if len(message) <= _LONGEST else f"{message[:_LONGEST]}..."
