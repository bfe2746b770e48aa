// The SharedWorker of brolly.js: one connection for all pages of an origin. Its name says what it was started for.

import { Hub } from "./brolly-hub.js";

const hub = new Hub(JSON.parse(self.name));

self.onconnect = ({ ports: [port] }) => hub.attach(port);
