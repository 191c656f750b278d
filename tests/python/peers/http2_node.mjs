// The peer of peers/http2.py on node's http2: over TLS on one port, with prior knowledge on another. Arguments: certificate,
// key, port with TLS, port without.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createSecureServer, createServer } from "node:http2";

const [certificate, key, securePort, plainPort] = process.argv.slice(2);

// Waits for room where the client has given none.
async function write(stream, piece) {
  if (!stream.write(piece)) await new Promise((resolve) => stream.once("drain", resolve).once("close", resolve));
}

async function pieces(stream, count, piece) {
  stream.respond({ ":status": 200 });
  for (let i = 0; i < count && !stream.destroyed; i++) await write(stream, piece(i));
  stream.end();
}

const paths = {
  "/hello": (stream) => {
    stream.respond({ ":status": 200, "content-type": "text/plain" });
    stream.end("Hello over HTTP/2\n");
  },
  "/echo": (stream, headers) => {
    stream.respond({ ":status": 200, ...("x-id" in headers ? { "x-id": headers["x-id"] } : {}) });
    stream.pipe(stream);
  },
  "/headers": (stream, headers, _query, raw) => {
    const fields = [];
    for (let i = 0; i < raw.length; i += 2) if (!raw[i].startsWith(":")) fields.push([raw[i], raw[i + 1]]);
    stream.respond({ ":status": 200 });
    stream.end(JSON.stringify({ host: headers[":authority"], headers: fields }));
  },
  "/digest": async (stream) => {
    const hash = createHash("sha256");
    let length = 0;
    for await (const piece of stream) {
      length += piece.length;
      hash.update(piece);
    }
    stream.respond({ ":status": 200 });
    stream.end(JSON.stringify({ length, sha256: hash.digest("hex") }));
  },
  "/stream": (stream, _headers, query) => pieces(stream, Number(query.get("n")), (i) => `piece ${i}\n`),
  "/big": (stream, _headers, query) => {
    const bytes = Number(query.get("bytes"));
    const size = 16384;
    return pieces(stream, Math.ceil(bytes / size), (i) => "x".repeat(Math.min(size, bytes - i * size)));
  },
  "/status/204": (stream) => stream.respond({ ":status": 204, "x-status": "bare" }, { endStream: true }),
  "/status/304": (stream) => stream.respond({ ":status": 304, "x-status": "bare" }, { endStream: true }),
  "/cookies": (stream) => {
    stream.respond({ ":status": 200, "set-cookie": ["a=1; Path=/", "b=2; Path=/"] });
    stream.end();
  },
  "/early413": (stream) => {
    stream.respond({ ":status": 413 });
    stream.end("too much");
  },
  "/never": () => {},
  "/trailers": (stream) => {
    stream.respond({ ":status": 200 }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "x-trailer": "last" }));
    stream.end("before the trailers");
  },
};

function serve(server, port) {
  server.on("stream", async (stream, headers, _flags, raw) => {
    stream.on("error", () => {}); // the client went away
    const url = new URL(headers[":path"], "http://any");
    const path = paths[url.pathname];
    try {
      if (path) await path(stream, headers, url.searchParams, raw);
      else stream.respond({ ":status": 404 }, { endStream: true });
    } catch {} // the client went away
  });
  server.on("sessionError", () => {});
  server.listen(Number(port), "127.0.0.1");
}

serve(createSecureServer({ cert: readFileSync(certificate), key: readFileSync(key) }), securePort);
serve(createServer(), plainPort);
