"""asyncio shells around the endpoint: server, client, connection; one file per WebSocket engine behind `engine`."""
