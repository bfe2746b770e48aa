// What Node's llhttp reads, for `brolly-conformance differential`; see conformance/src/differential/peers.rs for the frames.
'use strict';

const { HTTPParser, allMethods, methods } = process.binding('http_parser');
const names = allMethods || methods;

function lines(flat) {
  const fields = [];
  for (let at = 0; at + 1 < flat.length; at += 2) fields.push([flat[at].toLowerCase(), flat[at + 1]]);
  return fields;
}

function read(data, isRequest, isHead) {
  const messages = [];
  let flat = [], target = '', message = null, isClosed = false;
  const parser = new HTTPParser();
  parser.initialize(isRequest ? HTTPParser.REQUEST : HTTPParser.RESPONSE, {}, 1 << 16);
  // More lines than it has room for, or the trailers.
  parser[HTTPParser.kOnHeaders | 0] = (more, url) => {
    flat.push(...more);
    if (message === null) target += url;
  };
  parser[HTTPParser.kOnHeadersComplete | 0] = (major, minor, more, method, url, status, reason, upgrade, keepAlive) => {
    const fields = lines(flat.concat(more || []));
    target = url === undefined ? target : url;
    flat = [];
    isClosed = !keepAlive;
    const version = `${major}.${minor}`;
    const start = isRequest ? [names[method], target, version] : [String(status), reason, version];
    message = { start, fields, content: '', trailers: [] };
    target = '';
    // As Node's server and client do: 1 is "no content", 2 is "no longer HTTP".
    if (isRequest) return start[0] === 'CONNECT' ? 2 : 0;
    if (status === 101) return 2;
    return isHead || status < 200 ? 1 : 0;
  };
  parser[HTTPParser.kOnBody | 0] = (piece) => {
    message.content += piece.toString('latin1');
  };
  parser[HTTPParser.kOnMessageComplete | 0] = () => {
    message.trailers = lines(flat);
    flat = [];
    if (isRequest || message.start[0] >= 200) messages.push(message);
    if (message.start[0] === 'CONNECT') isClosed = true;
    message = null;
  };
  let done = parser.execute(data);
  // It stops behind a request that would upgrade. Nobody switches here, so what follows is HTTP still.
  while (!(done instanceof Error) && done > 0 && done < data.length && !isClosed && message === null && isRequest) {
    data = data.subarray(done);
    done = parser.execute(data);
  }
  const failed = done instanceof Error ? done : isRequest ? null : parser.finish();
  let end = 'more';
  // Responses: what follows the one that was asked for is nobody's.
  if (message === null && isClosed || !isRequest && messages.length > 0) end = 'closed';
  else if (failed instanceof Error && failed.code !== 'HPE_INVALID_EOF_STATE') end = `error: ${failed.code} ${failed.reason}`;
  return { messages: isRequest ? messages : messages.slice(0, 1), end, left: null };
}

let pending = Buffer.alloc(0);
process.stdin.on('data', (piece) => {
  pending = Buffer.concat([pending, piece]);
  const answers = [];
  while (pending.length >= 6 && pending.length >= 6 + pending.readUInt32LE(2)) {
    const end = 6 + pending.readUInt32LE(2);
    const reading = read(Buffer.from(pending.subarray(6, end)), pending[0] === 0x51, pending[1] === 0x48);
    pending = pending.subarray(end);
    const answer = Buffer.from(JSON.stringify(reading));
    const length = Buffer.alloc(4);
    length.writeUInt32LE(answer.length);
    answers.push(length, answer);
  }
  if (answers.length) process.stdout.write(Buffer.concat(answers));
});
