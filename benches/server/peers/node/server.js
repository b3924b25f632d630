// The peer of the server benches on ocpp-rpc in strict mode: requests and answers are validated by its own schemas.
//
// Comes in: charging stations at ws://127.0.0.1:PORT/IDENTITY, OCPP 1.6 and 2.0.1 on one port. Goes out: the minimal valid
// answer to what the benches send, and one line of JSON with the ports on standard output.
'use strict';

const {RPCServer} = require('ocpp-rpc');

const now = () => new Date().toISOString();
const handlers = {
  BootNotification: async () => ({status: 'Accepted', currentTime: now(), interval: 300}),
  Heartbeat: async () => ({currentTime: now()}),
  StatusNotification: async () => ({}),
  MeterValues: async () => ({}),
  TransactionEvent: async () => ({}),
};

const server = new RPCServer({protocols: ['ocpp1.6', 'ocpp2.0.1'], strictMode: true});
server.on('client', (client) => {
  for (const [action, handler] of Object.entries(handlers)) client.handle(action, handler);
});

server.listen(0, '127.0.0.1').then((http) => {
  const {port} = http.address();
  console.log(JSON.stringify({'ocpp1.6': port, 'ocpp2.0.1': port}));
});
