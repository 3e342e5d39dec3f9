"""One exchange: a request in our words in, its answer out, whole or as a stream.

What all dialects do alike stands here; how a reply or a stream looks is theirs.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import TypeAlias

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from modelrouter import types
from modelrouter.reply import Reply
from modelrouter.server import sse
from modelrouter.server.answering import Answering, ClientGone
from modelrouter.server.headers import decision_headers
from modelrouter.server.state import app_of
from modelrouter.trace import Fact

CLIENT_CLOSED = 499
"""nginx's status for a client that left; nobody reads it but the access log."""

Respond: TypeAlias = Callable[[AsyncIterator[str], Mapping[str, str]], Response]


async def whole(
    request: Request, wanted: types.Request, body: Callable[[Reply], dict[str, Fact]]
) -> Response:
    """Answer once all is there; a caller who leaves before stops the work."""
    answering = Answering(app_of(request), wanted, is_streamed=False)
    try:
        reply = await answering.whole(request.receive)
    except ClientGone:
        return Response(status_code=CLIENT_CLOSED)
    return JSONResponse(body(reply), headers=decision_headers(reply))


async def streamed(
    request: Request,
    wanted: types.Request,
    pieces: Callable[[Answering], AsyncIterator[str]],
    respond: Respond = sse.response,
) -> Response:
    """Answer while the text comes; what fails at once has a status of its own."""
    answering = Answering(app_of(request), wanted, is_streamed=True)
    try:
        await answering.begun(request.receive)
    except ClientGone:
        return Response(status_code=CLIENT_CLOSED)
    return respond(pieces(answering), answering.headers())
