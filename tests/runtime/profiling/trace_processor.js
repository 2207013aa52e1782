// Perfetto's trace processor in Node.js, as WebAssembly: node trace_processor.js FOLDER < requests > replies
//
// In: the folder of a Perfetto UI (engine_bundle.js and trace_processor.wasm), and a stream of
// TraceProcessorRpc messages. Out: the stream of replies. The bundle is written for a browser's
// worker; what it needs of one is given to it here: self, synchronous XMLHttpRequest, a message port.
"use strict";
const fs = require("node:fs");
const path = require("node:path");

const folder = process.argv[2];

class FileRequest {
  open(_method, name) {
    this.name = path.basename(name);
  }
  send() {
    const content = fs.readFileSync(path.join(folder, this.name));
    this.response = content.buffer.slice(content.byteOffset, content.byteOffset + content.length);
  }
}

const self = { location: { href: "file:///" } };
const quiet = { log() {}, warn() {}, error: console.error };
const bundle = fs.readFileSync(path.join(folder, "engine_bundle.js"), "utf8");
const names = ["self", "process", "WorkerGlobalScope", "XMLHttpRequest", "console"];
new Function(...names, bundle)(self, undefined, Object, FileRequest, quiet);

const port = { postMessage: (reply) => fs.writeSync(1, reply) };
self.onmessage({ data: port });
// Instantiated synchronously, so the module is ready in the next turn of the event loop.
setImmediate(() => port.onmessage({ data: new Uint8Array(fs.readFileSync(0)) }));
