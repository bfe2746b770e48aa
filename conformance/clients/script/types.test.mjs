// brolly.d.ts says what brolly.js has, and a program that uses all of it compiles.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import * as script from "../../../core/host/script/brolly.js";

const here = path.dirname(fileURLToPath(import.meta.url));

test("every class has the members that its declaration has, and no others", () => {
  const text = readFileSync(path.join(here, "../../../core/host/script/brolly.d.ts"), "utf8");
  const declared = new Map();
  for (const [, name, body] of text.matchAll(/^export class (\w+)[^{]*\{\n([^]*?)^\}/gm)) {
    declared.set(name, new Set([...body.matchAll(/^ {2}(?:readonly )?(\[?[\w.]+\]?)[(<:]/gm)].map(([, member]) => member)));
  }
  assert.deepEqual([...declared.keys()].sort(), ["Brolly", "BrollyError", "Subscription"]);
  assert.deepEqual(Object.keys(script).sort(), ["Brolly", "BrollyError", "Subscription", "TRANSPORTS"]);
  // Members that only instances have.
  const own = { Brolly: [], BrollyError: ["kind", "sent"], Subscription: ["topic"] };
  for (const [name, members] of declared) {
    const found = Reflect.ownKeys(script[name].prototype).map((key) => (key === Symbol.asyncIterator ? "[Symbol.asyncIterator]" : key));
    const known = found.filter((key) => typeof key === "string").concat(own[name]);
    members.delete("addEventListener");
    members.add("constructor");
    assert.deepEqual(known.sort(), [...members].sort(), name);
  }
});

test("a program that uses all of it compiles", (t) => {
  let compiler;
  try {
    compiler = createRequire(path.join(process.env.NODE_PATH ?? here, "x.js")).resolve("typescript/lib/tsc.js", { paths: [process.env.NODE_PATH ?? here] });
  } catch {
    return t.skip("there is no TypeScript here");
  }
  const options = ["--noEmit", "--strict", "--target", "es2022", "--module", "nodenext", "--lib", "es2023,dom,dom.iterable"];
  try {
    execFileSync(process.execPath, [compiler, ...options, path.join(here, "usage.ts")], { encoding: "utf8" });
  } catch ({ stdout }) {
    assert.fail(stdout);
  }
});
