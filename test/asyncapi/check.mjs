// Reads AsyncAPI documents with the official parser, and prints what each holds as one line of JSON. Ends with 1
// where one has an error or a warning that isn't about what relais leaves out on purpose.
import { readFile } from "node:fs/promises";
import { Parser } from "@asyncapi/parser";

// No list of tags, contact, licence or id: there is nothing to say there. A newer AsyncAPI is no fault.
const leftOut = new Set(["asyncapi-id", "asyncapi-info-contact", "asyncapi-info-license", "asyncapi-info-license-url",
  "asyncapi-tags", "asyncapi-latest-version", "asyncapi3-tags", "asyncapi-info-description"]);

const parser = new Parser();
let wrong = false;
for (const file of process.argv.slice(2)) {
  const { document, diagnostics } = await parser.parse(await readFile(file, "utf8"));
  for (const d of diagnostics) {
    if (d.severity > 1 || leftOut.has(d.code)) continue;
    wrong = true;
    console.error(`${file}: ${d.code}: ${d.path.join(".")}: ${d.message}`);
  }
  if (!document) {
    wrong = true;
    console.error(`${file}: the parser made no document`);
    continue;
  }
  console.log(JSON.stringify({
    version: document.version(),
    servers: document.servers().all().map((s) => s.url()),
    channels: document.channels().all().map((c) => c.address()),
    operations: document.operations().all().map((o) => `${o.action()} ${o.id()} ${o.messages().all().length}`),
    messages: document.messages().all().map((m) => m.id()),
    security: document.components().securitySchemes().all().map((s) => `${s.id()} ${s.type()}`),
  }));
}
process.exit(wrong ? 1 : 0);
