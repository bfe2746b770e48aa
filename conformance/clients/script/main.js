// brolly.js in Node: runs the `.test.mjs` files beside this one, with the server under test.

const fs = require("node:fs");
const path = require("node:path");
const { run } = require("node:test");
const { spec } = require("node:test/reporters");
const { options } = require("../checks.js");

const chosen = options();
process.env.BROLLY_BINARY = path.resolve(chosen.binary);
process.env.BROLLY_LOGS = chosen.artefacts;
const files = fs.readdirSync(__dirname).filter((name) => name.endsWith(".test.mjs")).map((name) => path.join(__dirname, name));
const testNamePatterns = chosen.only ? [chosen.only] : undefined;
run({ files, testNamePatterns, timeout: 120_000, concurrency: false })
  .on("test:fail", () => (process.exitCode = 1))
  .compose(new spec())
  .pipe(process.stdout);
