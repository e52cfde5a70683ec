"""A request that is not answered, with the canonical code that every protocol of a model server has a form for."""

INVALID_ARGUMENT = "INVALID_ARGUMENT"
NOT_FOUND = "NOT_FOUND"
RESOURCE_EXHAUSTED = "RESOURCE_EXHAUSTED"
DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
UNAVAILABLE = "UNAVAILABLE"
INTERNAL = "INTERNAL"
UNIMPLEMENTED = "UNIMPLEMENTED"


class Refusal(Exception):
    """Ends the handling of one request; what it says goes to the client.

    Args:
        code: One of the codes of this module.
        message: What is wrong, in TensorFlow Serving's words where it has words for it.
    """

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code
        self.message = message
