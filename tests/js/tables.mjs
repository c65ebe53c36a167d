// Tables of cases that the tests of the methods in Python read, too.

import { readFileSync } from "node:fs";

export function table(name) {
  return JSON.parse(readFileSync(new URL(name, import.meta.url), "utf8"));
}
