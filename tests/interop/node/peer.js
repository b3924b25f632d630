// A peer of evcore's interoperability tests, on ocpp-rpc, in both roles.
//
// Comes in: one JSON order a line on stdin (connect, listen, call, answer, drop). Goes out: one JSON line on stdout for the end of
// each order, and one for each thing that happened (open, call, closed, bad).
"use strict";

const readline = require("readline");
const { RPCClient, RPCServer, createRPCError } = require("ocpp-rpc");

const answers = new Map();
const clients = new Map();

function write(line) {
  process.stdout.write(JSON.stringify(line) + "\n");
}

// The parts both roles share: every CALL is told of and answered as the test chose.
function attend(client) {
  client.handle(({ method, params }) => {
    const answer = answers.get(method);
    if (answer === undefined) {
      throw createRPCError("NotImplemented", "no answer to this action");
    }
    write({ event: "call", identity: client.identity, action: method, payload: params });
    if (answer.$error) {
      throw createRPCError(answer.$error.code, answer.$error.description);
    }
    return answer;
  });
  client.on("badMessage", ({ error }) =>
    write({ event: "bad", identity: client.identity, payload: String(error.message || error.rpcErrorMessage) })
  );
  client.on("strictValidationFailure", ({ method, error, outbound }) =>
    write({ event: outbound ? "refused" : "bad", identity: client.identity, action: method, payload: error.message })
  );
  client.on("close", ({ code }) => write({ event: "closed", identity: client.identity, payload: code }));
}

async function connect(order) {
  const client = new RPCClient({
    endpoint: order.url,
    identity: order.identity,
    protocols: [order.version],
    password: order.password ?? null,
    strictMode: order.strict,
    reconnect: false,
    wsOpts: { perMessageDeflate: order.deflate ? { threshold: 0 } : false },
  });
  attend(client);
  clients.set(order.identity, client);
  const { response } = await client.connect();
  return { protocol: client.protocol, extensions: response.headers["sec-websocket-extensions"] ?? "" };
}

async function listen(order) {
  const server = new RPCServer({
    protocols: [order.version],
    strictMode: order.strict,
    wssOptions: { perMessageDeflate: order.deflate ? { threshold: 0 } : false },
  });
  server.auth((accept, reject, handshake) => {
    if (order.password != null && handshake.password?.toString() !== order.password) {
      reject(401, "Unauthorized");
    } else {
      accept();
    }
  });
  server.on("client", (client) => {
    clients.set(client.handshake.identity, client);
    attend(client);
    write({ event: "open", identity: client.handshake.identity, payload: Object.keys(client._ws._extensions).join() });
  });
  const http = await server.listen(0, "127.0.0.1");
  return { port: http.address().port };
}

async function obey(order) {
  switch (order.do) {
    case "connect":
      return await connect(order);
    case "listen":
      return await listen(order);
    case "call":
      return await clients.get(order.identity).call(order.action, order.payload);
    case "answer":
      answers.set(order.action, order.payload);
      return null;
    case "drop":
      return await clients.get(order.identity).close({ code: 1000 });
    default:
      throw new Error(`no order ${order.do}`);
  }
}

readline.createInterface({ input: process.stdin }).on("line", async (line) => {
  const order = JSON.parse(line);
  try {
    write({ seq: order.seq, result: await obey(order) });
  } catch (error) {
    const code = String(error.rpcErrorCode ?? error.code ?? error.name);
    write({ seq: order.seq, error: { code, description: error.message } });
  }
}).on("close", () => process.exit(0));
