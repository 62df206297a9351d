// The picture: lanes, bars, ticks, gaps. What is below a pixel is drawn once a pixel; a failure is never hidden by that.

import { command, comm, outcome, title } from "./data.js";
import { lostIn } from "./gaps.js";
import { firstEnding, HEAD, ROW, yOf } from "./layout.js";

const KINDS = ["dim", "ok", "unseen", "lives", "signal", "fail"]; // later ones are drawn over earlier ones
const MANY = { exec_failed: "execs failed" };
const BAR = ROW - 3, TEXT_FROM = 34, TICKS_FROM = 5, SIGN_FROM = 9;

// Rectangles of one color; consecutive ones that touch in a row are joined.
class Rects {
  constructor() { this.items = []; this.clear(); }
  clear() { this.count = 0; this.y = -1; this.right = -1; }
  add(x, y, w) {
    if (y === this.y && x <= this.right) {
      if (x + w <= this.right) return;
      this.items[this.count - 1] += x + w - this.right;
    } else {
      this.items[this.count++] = x; this.items[this.count++] = y; this.items[this.count++] = w;
      this.y = y;
    }
    this.right = x + w;
  }
  fill(context, color, height) {
    context.fillStyle = color;
    for (let i = 0; i < this.count; i += 3) context.fillRect(this.items[i], this.items[i + 1], this.items[i + 2], height);
  }
}

export function makeDraw(canvas, model, plan, state, colors) {
  const context = canvas.getContext("2d", { alpha: false });
  const rects = Object.fromEntries(KINDS.map((kind) => [kind, new Rects()]));
  const brief = { signal: new Rects(), fail: new Rects() }; // so narrow that a tick would hide them
  const details = [];
  const kindOf = Uint8Array.from({ length: model.n }, (_, i) => KINDS.indexOf(outcome(model, i)));
  let width = 0, height = 0, charWidth = 7;

  function size(w, h, ratio) {
    width = w; height = h;
    canvas.width = Math.round(w * ratio); canvas.height = Math.round(h * ratio);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.font = "11px ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace";
    context.textBaseline = "middle";
    charWidth = context.measureText("MMMMMMMMMM").width / 10;
  }

  function cut(text, pixels) {
    const most = Math.floor(pixels / charWidth);
    return text.length <= most ? text : most > 1 ? `${text.slice(0, most - 1)}…` : "";
  }

  function bars(lane, from, until) {
    const scale = width / (until - from);
    const firstRow = Math.max(0, Math.floor((state.top - lane.y - lane.head) / ROW));
    const lastRow = Math.min(lane.rows, Math.ceil((state.top + height - lane.y - lane.head) / ROW));
    for (let own = firstRow; own < lastRow; own++) {
      const row = lane.base + own, y = lane.y + lane.head + own * ROW - state.top, stop = plan.head[row + 1];
      for (let at = firstEnding(plan, model, row, from); at < stop; at++) {
        const i = plan.order[at], began = model.start[i];
        if (began > until) break;
        const x = Math.max(-2, Math.floor((began - from) * scale));
        const right = Math.min(width + 2, (model.end[i] - from) * scale), w = Math.max(1, Math.round(right - x));
        const isDim = state.hits && !state.hits[i];
        const kind = isDim ? "dim" : KINDS[kindOf[i]];
        (w < TICKS_FROM && brief[kind] || rects[kind]).add(x, y + 1, w > 3 ? w - 1 : w);
        if (w >= TICKS_FROM && !isDim) details.push(i, x, w, y);
      }
    }
  }

  function ticks(from, scale) {
    const failed = [];
    context.fillStyle = colors.tick;
    for (let at = 0; at < details.length; at += 4) {
      const i = details[at], y = details[at + 3];
      let last = -1;
      for (let exec = model.execHead[i]; exec < model.execHead[i + 1]; exec++) {
        const x = Math.floor((model.execTime[exec] - from) * scale);
        if (x < 0 || x > width) continue;
        if (model.exec_errno[exec]) failed.push(x, y);
        else if (x !== last) context.fillRect(x, y + 1, 1, BAR);
        last = x;
      }
    }
    context.strokeStyle = colors.fail;
    context.beginPath();
    for (let at = 0; at < failed.length; at += 2) cross(failed[at], failed[at + 1] + 5, 2);
    context.stroke();
  }

  function cross(x, y, r) {
    context.moveTo(x - r, y - r); context.lineTo(x + r, y + r);
    context.moveTo(x - r, y + r); context.lineTo(x + r, y - r);
  }

  // How it ended, as a sign at the end of its bar: a cross for a failure, a bolt for a signal, an arrow where it lives on.
  function signs() {
    const paths = { fail: new Path2D(), signal: new Path2D(), lives: new Path2D(), unseen: new Path2D() };
    for (let at = 0; at < details.length; at += 4) {
      const path = paths[KINDS[kindOf[details[at]]]], w = details[at + 2], x = details[at + 1] + w - 6;
      if (!path || w < SIGN_FROM || x > width) continue;
      const y = details[at + 3] + ROW / 2;
      shape(path, KINDS[kindOf[details[at]]], x, y);
    }
    context.strokeStyle = colors.sign; context.lineWidth = 1.5;
    for (const path of Object.values(paths)) context.stroke(path);
    context.lineWidth = 1;
  }

  function shape(path, kind, x, y) {
    if (kind === "fail") { path.moveTo(x - 3, y - 3); path.lineTo(x + 3, y + 3); path.moveTo(x - 3, y + 3); path.lineTo(x + 3, y - 3); }
    else if (kind === "signal") { path.moveTo(x + 1, y - 4); path.lineTo(x - 2, y); path.lineTo(x + 2, y); path.lineTo(x - 1, y + 4); }
    else if (kind === "lives") { path.moveTo(x - 2, y - 3); path.lineTo(x + 2, y); path.lineTo(x - 2, y + 3); }
    else { path.moveTo(x - 1, y - 3); path.lineTo(x - 1, y - 3); path.arc(x, y - 2, 2, Math.PI, 0.5 * Math.PI); path.moveTo(x, y + 2); path.lineTo(x, y + 4); }
  }

  function labels() {
    for (let at = 0; at < details.length; at += 4) {
      const x = Math.max(2, details[at + 1] + 3), room = Math.min(details[at + 1] + details[at + 2] - 12, width) - x;
      if (room < TEXT_FROM) continue;
      context.fillStyle = colors[`on_${KINDS[kindOf[details[at]]]}`];
      context.fillText(cut(`${numbers(details[at])} ${title(model, details[at])}`, room), x, details[at + 3] + ROW / 2);
    }
  }

  const numbers = (i) => (model.level[i] ? `${model.tgid[i]}>${model.nr[i]}` : `${model.tgid[i]}`);

  function heading(lane) {
    const y = Math.max(lane.y - state.top, Math.min(0, lane.y + lane.height - HEAD - state.top));
    context.fillStyle = colors.heading;
    context.fillRect(0, y, width, HEAD - 2);
    const { label, image, level, counts, pidns } = model.lanes[lane.at];
    const indent = 6 + 16 * lane.depth;
    context.fillStyle = colors.text;
    const name = cut(`${lane.isOpen ? "▾" : "▸"} ${label}`, width - indent);
    context.fillText(name, indent, y + HEAD / 2 - 1);
    context.fillStyle = colors.faint;
    const facts = [image, level ? `PID namespace ${pidns}` : "", said(counts)].filter(Boolean).join(" · ");
    const x = indent + (name.length + 2) * charWidth;
    context.fillText(cut(facts, width - x), x, y + HEAD / 2 - 1);
  }

  const said = (counts) => Object.entries(counts).map(([kind, count]) => `${count} ${count === 1 ? kind.replace("_", " ") : MANY[kind] ?? `${kind}s`}`).join(", ");

  // What happened to a container as a whole, in a row below its heading; each word has room until the next one.
  function marks(lane) {
    const scale = width / (state.until - state.from), y = lane.y + HEAD - state.top;
    const own = model.notes.filter((note) => note.lane === lane.at && note.kind !== "gap" && note.until >= state.from)
      .map((note) => [Math.floor((note.until - state.from) * scale), note]);
    context.fillStyle = colors.mark;
    own.forEach(([x, { kind, text }], at) => {
      if (x > width) return;
      context.fillRect(x, y, 1, BAR);
      const room = (own[at + 1]?.[0] ?? width) - x - 6;
      context.fillText(cut(kind === "container" ? text : `${kind} ${text}`, room), x + 3, y + ROW / 2 - 1);
    });
  }

  // Shaded, and below how many events are missing: one label for all gaps that it would cover.
  function losses() {
    const scale = width / (state.until - state.from), labels = [];
    let shaded = 0;
    context.fillStyle = colors.hatch;
    for (const { since, until, lost } of model.gaps) {
      if (until < state.from || since > state.until) continue;
      const x = Math.max(0, Math.floor((since - state.from) * scale));
      const right = Math.max(x + 2, Math.min(width, (until - state.from) * scale)), from = Math.max(x, shaded);
      if (right > from) context.fillRect(from, 0, right - from, height);
      shaded = Math.max(shaded, right);
      const last = labels.at(-1), joins = last && x <= last.right;
      const label = joins ? last : { x, right, lost: 0, gaps: 0 };
      if (!joins) labels.push(label);
      label.lost += lost ?? 0; label.gaps++;
      label.right = Math.max(label.right, right, label.x + room(label));
    }
    for (const label of labels) {
      const x = Math.max(0, Math.min(label.x, width - room(label)));
      context.fillStyle = colors.back;
      context.fillRect(x, height - 18, room(label), 18);
      context.fillStyle = colors.fail;
      context.fillText(lostIn(label), x + 3, height - 9);
    }
  }

  const room = (label) => (lostIn(label).length + 1) * charWidth;

  function selection() {
    if (state.selected < 0) return;
    const i = state.selected, scale = width / (state.until - state.from);
    const x = Math.max(-4, (model.start[i] - state.from) * scale), y = yOf(plan, model, i) - state.top;
    const right = Math.min(width + 4, (model.end[i] - state.from) * scale);
    context.strokeStyle = colors.selected; context.lineWidth = 2;
    context.strokeRect(x - 1.5, y - 0.5, Math.max(4, right - x + 2), ROW - 1);
    context.lineWidth = 1;
  }

  function draw() {
    const { from, until, top } = state;
    context.fillStyle = colors.back;
    context.fillRect(0, 0, width, height);
    for (const each of [rects, brief]) for (const kind in each) each[kind].clear();
    details.length = 0;
    const seen = plan.lanes.filter((lane) => lane.y + lane.height > top && lane.y < top + height);
    for (const lane of seen) if (lane.isOpen) bars(lane, from, until);
    for (const lane of seen) if (lane.isOpen && lane.head > HEAD) marks(lane);
    for (const kind of KINDS) rects[kind].fill(context, colors[kind], BAR);
    ticks(from, width / (until - from));
    for (const kind in brief) brief[kind].fill(context, colors[kind], BAR);
    labels();
    signs();
    losses();
    selection();
    for (const lane of seen) heading(lane);
  }

  return { draw, size, about: (i) => `${numbers(i)} ${comm(model, i)}: ${command(model, i)}` };
}
