"""A bare echo on picows, as lean as the library allows: the floor under every server on this loop."""

from __future__ import annotations

import picows

from benches.server.peers.python.common import BACKLOG, Options, context, run

#: The smallest picows takes; its default of 16 KiB doubles the memory of a connection.
READ_BUFFER = 2048


class Echo(picows.WSListener):
    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if frame.msg_type == picows.WSMsgType.TEXT:
            transport.send(picows.WSMsgType.TEXT, frame.get_payload_as_memoryview())
        elif frame.msg_type == picows.WSMsgType.CLOSE:
            transport.send_close()
            transport.disconnect()


def upgrade(request: picows.WSUpgradeRequest) -> picows.WSUpgradeResponseWithListener:
    offered = request.headers.get("Sec-WebSocket-Protocol", "").partition(",")[0]
    response = picows.WSUpgradeResponse.create_101_response({"Sec-WebSocket-Protocol": offered})
    return picows.WSUpgradeResponseWithListener(response, Echo())


async def serve(options: Options) -> int:
    server = await picows.ws_create_server(
        upgrade,
        "127.0.0.1",
        0,
        ssl=context(options),
        backlog=BACKLOG,
        read_buffer_init_size=READ_BUFFER,
        enable_auto_ping=False,
    )
    await server.start_serving()
    return int(server.sockets[0].getsockname()[1])


if __name__ == "__main__":
    run(serve)
