"""The five messages of OCPP-J, as the chosen backend makes them.

All are immutable, compared by the fields in `__match_args__`, not hashable, and picklable; `raw` are the bytes of the
payload (of the details, for errors) as received, `violations` what a policy let through.
"""

from typing import TypeAlias

from evcore._backend import Call, CallError, CallResult, CallResultError, Send

__all__ = ["Call", "CallError", "CallResult", "CallResultError", "Message", "Send"]

Message: TypeAlias = Call | CallResult | CallError | CallResultError | Send
