// An echo server by `ws`, as its own example is: node ws.js HOST PORT
const { WebSocketServer } = require("ws");

const [host, port] = process.argv.slice(2);
new WebSocketServer({ host, port: Number(port) }).on("connection", (socket) => {
  socket.on("error", () => {});
  socket.on("message", (data, binary) => socket.send(data, { binary }));
});
