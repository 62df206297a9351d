// The page: reads its data, draws, and answers mouse and keys.

import { axisBottom } from "d3-axis";
import { scaleLinear } from "d3-scale";
import { select as selected } from "d3-selection";
import { zoom as makeZoom, zoomIdentity } from "d3-zoom";
import { hasFailed, LIVES, read } from "./data.js";
import { showDetails } from "./details.js";
import { byId } from "./dom.js";
import { makeDraw } from "./draw.js";
import { parse, write } from "./fragment.js";
import { lostIn, nextPlace, places } from "./gaps.js";
import { HEAD, layout, laneAt, place, processAt, ROW, yOf } from "./layout.js";
import { makeMinimap } from "./minimap.js";
import { nextHit, search } from "./search.js";
import { showTable } from "./table.js";
import { clock as makeClock, duration } from "./times.js";

const LEAST = 2000; // ns: the narrowest window
const LABEL = 90; // pixels of a tick's name
const SLACK = 4; // pixels beside a short process that count as it
const COLORS = ["back", "text", "faint", "heading", "ok", "fail", "signal", "lives", "unseen", "dim", "tick", "sign",
  "hatch", "veil", "mark", "selected", "on_dim", "on_ok", "on_fail", "on_signal", "on_lives", "on_unseen"];

async function main() {
  const data = byId("data"), model = await read(data.textContent);
  data.remove();
  const { header } = model, colors = {};
  const plan = layout(model);
  const state = { from: 0, until: model.span, top: 0, selected: -1, text: "", hits: null, height: 0 };
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  let isUtc = header.utc, theme = "";
  const clock = makeClock(BigInt(header.begin) + BigInt(header.wall), () => isUtc);
  const canvas = byId("lanes"), strip = byId("minimap"), axis = selected(byId("axis"));
  const drawing = makeDraw(canvas, model, plan, state, colors);
  const minimap = makeMinimap(strip, model, state, colors, show);
  const base = scaleLinear().domain([0, model.span]);
  const losses = places(model.gaps, model.span);
  let width = 0, lastY = 0, isDue = false, settling = 0, visited = {};

  const zoom = makeZoom()
    .filter((event) => !event.shiftKey && !event.button)
    .on("start", (event) => { lastY = event.sourceEvent?.clientY ?? 0; })
    .on("zoom", ({ transform, sourceEvent }) => {
      [state.from, state.until] = [0, width].map((x) => base.invert(transform.invertX(x)));
      if (sourceEvent?.type === "mousemove") { scroll(lastY - sourceEvent.clientY); lastY = sourceEvent.clientY; }
      due();
    });

  function show(from, until) {
    const span = Math.min(model.span, Math.max(LEAST, until - from));
    const begin = Math.min(model.span - span, Math.max(0, from));
    const k = model.span / span;
    selected(canvas).call(zoom.transform, zoomIdentity.scale(k).translate(-(begin / model.span) * width, 0));
  }

  function scroll(pixels) {
    state.top = Math.max(0, Math.min(state.top + pixels, plan.height - state.height + ROW));
    due();
  }

  const pan = (part) => show(state.from + part * (state.until - state.from), state.until + part * (state.until - state.from));

  function magnify(factor) {
    const middle = (state.from + state.until) / 2, half = (state.until - state.from) / 2 / factor;
    show(middle - half, middle + half);
  }

  // For those who do not see the picture; and where it does not show it, for all, until something else is done.
  function say(text, isShown = text !== "") {
    byId("said").textContent = text;
    byId("said").classList.toggle("shown", isShown);
  }

  function choose(i, comes = false) {
    state.selected = i;
    showDetails(model, clock, i, choose, () => write(model, state));
    if (i >= 0 && comes) reveal(i);
    say(i < 0 ? "" : `Selected: ${drawing.about(i)}`, false);
    due();
  }

  // Make a process seen, with the window as wide as it is unless it lives for less than some pixels of that.
  function reveal(i) {
    const lived = Math.max(1, model.end[i] - model.start[i]), span = state.until - state.from;
    const lane = plan.laneOf[model.lane[i]];
    if (!lane.isOpen) { lane.isOpen = true; place(plan); }
    const y = yOf(plan, model, i);
    if (y < state.top + HEAD || y + ROW > state.top + state.height) scroll(y - state.height / 2 - state.top);
    const least = lived * width / 12; // at least 12 pixels wide
    if (span > least) show(model.start[i] - least / 2, model.start[i] + least / 2);
    else if (model.start[i] < state.from || model.start[i] > state.until) show(model.start[i] - span / 10, model.start[i] + 0.9 * span);
  }

  function look(text) {
    state.text = text;
    state.hits = search(model, text);
    const count = state.hits ? state.hits.reduce((sum, hit) => sum + hit, 0) : -1;
    byId("hits").textContent = count < 0 ? "" : count === 0 ? "none found" : `${count} found`;
    due();
  }

  function step(way, isMeant = () => true) {
    const among = Uint8Array.from({ length: model.n }, (_, i) => (!state.hits || state.hits[i]) && isMeant(i));
    const from = state.selected >= 0 ? state.selected : way > 0 ? -1 : 0;
    const at = model.n ? nextHit(among, from, way) : -1;
    if (at >= 0) choose(at, true);
    return at >= 0;
  }

  function failure(way) {
    if (!step(way, (i) => hasFailed(model, i))) { say("No failure is recorded here"); return; }
    const end = model.end[state.selected], span = state.until - state.from; // how it failed stands at its end
    if (end > state.until) show(end - 0.8 * span, end + 0.2 * span);
  }

  // The next place where events were lost, or the one before; around the ends.
  function gap(way) {
    if (!losses.length) { say("No event was lost"); return; }
    const isThere = visited.from === state.from && visited.until === state.until;
    const at = isThere ? (visited.at + way + losses.length) % losses.length
      : nextPlace(losses, state, way);
    const { since, until } = losses[at], half = Math.max(LEAST, 2 * (until - since));
    show((since + until) / 2 - half, (since + until) / 2 + half);
    visited = { at, from: state.from, until: state.until };
    say(`${at + 1} of ${losses.length}: ${lostIn(losses[at])} at ${clock.text(since)}`);
  }

  function due() {
    if (isDue) return;
    isDue = true;
    requestAnimationFrame(() => { isDue = false; draw(); });
  }

  function draw() {
    drawing.draw();
    minimap.draw();
    drawAxis();
    clearTimeout(settling);
    settling = setTimeout(settled, 200);
  }

  // What need not happen in each frame.
  function settled() {
    try { history.replaceState(null, "", write(model, state)); } catch { /* some browsers refuse this for files */ }
    if (byId("table").open) showTable(model, plan, state, clock, choose);
    const link = byId("details").querySelector("a");
    if (link) link.setAttribute("href", write(model, state));
    canvas.setAttribute("aria-label", `Processes from ${clock.text(state.from)} to ${clock.text(state.until)} ${clock.zone()}`);
  }

  function drawAxis() {
    const { from, until } = state, scale = scaleLinear().domain([from, until]).range([0, width]);
    const ticks = clock.ticks(from, until, Math.max(2, Math.floor(width / 130)))
      .filter((ns) => scale(ns) >= LABEL / 2 && scale(ns) <= width - LABEL / 2); // those whose names are seen whole
    axis.call(axisBottom(scale).tickSizeOuter(0).tickValues(ticks).tickFormat((ns) => clock.tick(ns, until - from)));
    byId("window").textContent = `${clock.day(from)} ${clock.zone()} · ${duration(until - from)}`;
  }

  function resized() {
    const ratio = window.devicePixelRatio || 1, box = canvas.parentElement.getBoundingClientRect();
    const { from, until } = state;
    width = box.width; state.height = box.height;
    base.range([0, width]);
    drawing.size(box.width, box.height, ratio);
    minimap.size(strip.clientWidth, strip.clientHeight, ratio);
    zoom.extent([[0, 0], [width, box.height]]).translateExtent([[0, -Infinity], [width, Infinity]])
      .scaleExtent([1, Math.max(1, model.span / LEAST)]);
    show(from, until);
    scroll(0);
  }

  function readColors() {
    document.documentElement.dataset.theme = theme || (prefersDark.matches ? "dark" : "light");
    const style = getComputedStyle(document.documentElement);
    for (const name of COLORS) colors[name] = style.getPropertyValue(`--${name}`).trim();
    due();
  }

  function switchTheme() {
    theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    readColors();
  }

  function restore() {
    const view = parse(model, location.hash);
    byId("search").value = view.text;
    look(view.text);
    state.top = Math.max(0, view.top);
    show(view.from, view.until);
    choose(view.selected);
  }

  function clicked(event) {
    byId("said").classList.remove("shown");
    const span = state.until - state.from, time = state.from + (event.offsetX / width) * span;
    const y = event.offsetY + state.top, lane = laneAt(plan, y);
    const stuck = lane && event.offsetY < HEAD && lane.y < state.top;
    if (lane && (stuck || y < lane.y + HEAD)) {
      lane.isOpen = !lane.isOpen;
      place(plan);
      if (stuck) state.top = lane.y;
      scroll(0);
    } else choose(processAt(plan, model, y, time, (SLACK / width) * span));
  }

  const up = () => { const i = state.selected; if (i >= 0 && model.parent[i]) choose(model.parent[i] - 1, true); };
  const down = () => {
    for (let i = state.selected + 1; state.selected >= 0 && i < model.n; i++) if (model.parent[i] - 1 === state.selected) return choose(i, true);
  };
  const toggle = (id) => { byId(id).open = !byId(id).open; };
  const KEYS = {
    ArrowLeft: () => pan(-0.2), ArrowRight: () => pan(0.2), ArrowUp: () => scroll(-3 * ROW), ArrowDown: () => scroll(3 * ROW),
    PageUp: () => scroll(-state.height), PageDown: () => scroll(state.height),
    "+": () => magnify(2), "=": () => magnify(2), "-": () => magnify(0.5), Home: () => show(0, model.span),
    "/": () => byId("search").focus(), n: () => step(1), N: () => step(-1), f: () => failure(1), F: () => failure(-1), g: () => gap(1), G: () => gap(-1), p: up, c: down, Escape: () => choose(-1),
    Enter: () => { if (state.selected >= 0) reveal(state.selected); },
    t: () => toggle("table"), d: switchTheme, u: () => { isUtc = !isUtc; due(); }, "?": () => toggle("help"),
  };

  function pressed(event) {
    const inText = event.target instanceof HTMLInputElement;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (inText && event.key === "Enter") { step(event.shiftKey ? -1 : 1); return; }
    if (inText && event.key === "Escape") { event.target.blur(); return; }
    const onControl = event.target instanceof HTMLButtonElement || event.target.closest?.("summary, a, #tablebox");
    const act = KEYS[event.key];
    if (inText || !act || (onControl && /^(Enter| |Arrow|Page|Home)/.test(event.key))) return;
    event.preventDefault();
    byId("said").classList.remove("shown");
    act();
  }

  selected(canvas).call(zoom);
  canvas.addEventListener("click", clicked);
  canvas.addEventListener("wheel", (event) => { if (event.shiftKey) { event.preventDefault(); scroll(event.deltaY || event.deltaX); } }, { passive: false });
  document.addEventListener("keydown", pressed);
  byId("search").addEventListener("input", (event) => look(event.target.value));
  byId("theme").addEventListener("click", switchTheme);
  byId("whole").addEventListener("click", () => show(0, model.span));
  byId("table").addEventListener("toggle", () => { resized(); settled(); });
  byId("help").addEventListener("toggle", resized);
  addEventListener("hashchange", restore);
  prefersDark.addEventListener("change", readColors);
  new ResizeObserver(resized).observe(canvas.parentElement);

  document.title = `${header.name} - nstrace timeline`;
  byId("name").textContent = header.name;
  byId("summary").textContent = summary(model);
  readColors();
  resized();
  restore();
  byId("status").textContent = "";
  document.documentElement.dataset.ready = "yes";
}

function summary(model) {
  const count = (what, number, many = `${what}s`) => `${number} ${number === 1 ? what : many}`;
  const failed = Array.from({ length: model.n }, (_, i) => hasFailed(model, i)).filter(Boolean).length;
  const { gaps } = model, lost = gaps.reduce((sum, gap) => sum + (gap.lost ?? 0), 0);
  const containers = new Set(model.lanes.filter((lane) => lane.container).map((lane) => lane.id));
  const living = model.fate.reduce((sum, fate) => sum + (fate === LIVES), 0);
  return [`host ${model.header.host}`, count("process", model.n, "processes"), count("container", containers.size), `${failed} failed`,
    `${living} lived at the end`, gaps.length ? `${count("gap", gaps.length)}, ${lost} events lost` : "no events lost"].join(" · ");
}

main().catch((error) => {
  byId("status").textContent = `This page cannot be shown: ${error.message}. It needs a browser of 2023 or newer.`;
  document.documentElement.dataset.ready = "no";
  console.error(error);
});
