"""The error for a refused request, with a canonical code that REST and gRPC both can express."""

INVALID_ARGUMENT = "INVALID_ARGUMENT"
NOT_FOUND = "NOT_FOUND"
RESOURCE_EXHAUSTED = "RESOURCE_EXHAUSTED"
DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
UNAVAILABLE = "UNAVAILABLE"
INTERNAL = "INTERNAL"
UNIMPLEMENTED = "UNIMPLEMENTED"


class Refusal(Exception):
    """An error that ends the handling of one request; its code and message are sent to the client.

    Args:
        code: One of the codes of this module.
        message: What is wrong, in the words of TensorFlow Serving if it has a message for the case.
    """

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code
        self.message = message
