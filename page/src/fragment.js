// The view in the page's address, behind #: a link to it shows the same. What stands there may come from anybody.

import { find, identity } from "./data.js";

export function write(model, state) {
  const parts = new URLSearchParams({ from: Math.round(state.from), until: Math.round(state.until), y: Math.round(state.top) });
  if (state.selected >= 0) parts.set("process", identity(model, state.selected));
  if (state.text) parts.set("search", state.text);
  return `#${parts}`;
}

export function parse(model, hash) {
  const parts = new URLSearchParams(hash.slice(1));
  const number = (name, otherwise) => (/^-?\d{1,16}$/.test(parts.get(name) ?? "") ? Number(parts.get(name)) : otherwise);
  return {
    from: number("from", 0), until: number("until", model.span), top: number("y", 0),
    selected: find(model, parts.get("process")), text: (parts.get("search") ?? "").slice(0, 200),
  };
}
