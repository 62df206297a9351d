// Which processes a text means: a number is a PID of any level; other text is looked for in commands, names, containers.

import { pids } from "./data.js";

// One flag for each process; null: no text. A condition in another language would stand here too.
export function search(model, text) {
  const wanted = text.trim().toLowerCase();
  if (!wanted) return null;
  const hits = new Uint8Array(model.n);
  const found = /^\d+$/.test(wanted) ? byNumber(model, Number(wanted)) : byText(model, wanted);
  for (let i = 0; i < model.n; i++) hits[i] = found(i) ? 1 : 0;
  return hits;
}

function byNumber(model, number) {
  return (i) => model.tgid[i] === number || (model.nr[i] === number && model.level[i] > 0)
    || (model.between.has(i) && pids(model, i).includes(number));
}

function byText(model, wanted) {
  const has = (texts) => texts.map((text) => text.toLowerCase().includes(wanted));
  const { comms, commands, exes, exe_of } = model.header;
  const inExes = has(exes), inCommands = has(commands).map((is, at) => is || inExes[exe_of[at]]);
  const inComms = has(comms), inLanes = has(model.lanes.map((lane) => `${lane.label} ${lane.id} ${lane.image}`));
  const has_run = new Uint8Array(model.n);
  model.execProcess.forEach((process, exec) => { if (inCommands[model.exec_command[exec]]) has_run[process] = 1; });
  return (i) => inCommands[model.command[i]] || inComms[model.comm[i]] || inLanes[model.lane[i]] || has_run[i];
}

// The next hit after a process, or the one before it (step -1), around the ends; -1: there is none.
export function nextHit(hits, from, step) {
  const n = hits.length;
  for (let tried = 0, at = from; tried < n; tried++) {
    at = (at + step + n) % n;
    if (hits[at]) return at;
  }
  return -1;
}
