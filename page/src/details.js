// One process whole: what is beside the picture when it is selected.

import { command, comm, ending, identity, pids, title, uid } from "./data.js";
import { button, byId, element } from "./dom.js";
import { duration } from "./times.js";

const MOST = 200;

export function showDetails(model, clock, i, select, link) {
  const panel = byId("details");
  panel.hidden = i < 0;
  panel.replaceChildren();
  if (i < 0) return;
  const bar = element("div", "", { class: "bar" });
  bar.append(element("h2", `${model.tgid[i]} ${comm(model, i)}`), button("×", () => select(-1)));
  bar.lastChild.setAttribute("aria-label", "Close");
  panel.append(bar, list(facts(model, clock, i)), relatives(model, i, select), history(model, clock, i));
  panel.append(element("a", "Link to this view", { href: link() }));
}

function facts(model, clock, i) {
  const lane = model.lanes[model.lane[i]], level = model.level[i], numbers = pids(model, i);
  const exe = model.header.exes[model.header.exe_of[model.command[i]]];
  return [
    ["PID on the host", String(numbers[0])],
    ["PID inside", level ? String(numbers.at(-1)) : "the same"],
    ["PIDs, host first", numbers.join(" > ")],
    ["container", lane.container ? lane.label : "none"],
    ["container id", lane.id],
    ["image", lane.image],
    ["PID namespace", `${lane.spaces[level]} (${level ? `level ${level}` : "the host's"})`],
    ["command", command(model, i) || "not known"],
    ["file", exe],
    ["name", comm(model, i)],
    ["uid", uid(model, i)],
    ["began", `${clock.day(model.start[i])} ${clock.text(model.start[i])}${model.was_there[i] ? " (before it could be followed)" : ""}`],
    ["ended", model.fate[i] === 1 ? "" : `${clock.day(model.end[i])} ${clock.text(model.end[i])}`],
    ["how", ending(model, i)],
    ["lived", duration(model.end[i] - model.start[i])],
    ["identity", identity(model, i)],
  ].filter(([, text]) => text);
}

function list(pairs) {
  const made = element("dl");
  for (const [name, text] of pairs) made.append(element("dt", name), element("dd", text));
  return made;
}

function relatives(model, i, select) {
  const part = element("div"), up = model.parent[i] - 1;
  part.append(element("h3", "Parents"));
  const names = element("ol");
  for (let at = up, count = 0; at >= 0 && count < MOST; at = model.parent[at] - 1, count++) names.append(entry(model, at, select));
  if (up < 0) names.append(element("li", model.parent_tgid[i] ? `PID ${model.parent_tgid[i]}, which was not recorded` : "not known"));
  part.append(names);
  const children = [];
  for (let at = i + 1; at < model.n && children.length <= MOST; at++) if (model.parent[at] - 1 === i) children.push(at);
  if (children.length) {
    const many = element("ol");
    part.append(element("h3", children.length > MOST ? `Children, the first ${MOST}` : "Children"), many);
    children.slice(0, MOST).forEach((at) => many.append(entry(model, at, select)));
  }
  return part;
}

function entry(model, i, select) {
  const made = element("li");
  made.append(button(`${pids(model, i).join(" > ")} ${title(model, i)}`.slice(0, 120), () => select(i, true)));
  return made;
}

function history(model, clock, i) {
  const part = element("div"), first = model.execHead[i], count = model.execHead[i + 1] - first;
  if (!count) return part;
  const names = element("ol");
  part.append(element("h3", count > MOST ? `What it ran, the first ${MOST} of ${count}` : "What it ran"), names);
  for (let exec = first; exec < first + Math.min(count, MOST); exec++) {
    const number = model.exec_command[exec], errno = model.exec_errno[exec];
    const { commands, exes, exe_of, errors } = model.header;
    const ran = commands[number] || exes[exe_of[number]] || "not known";
    names.append(element("li", `${clock.text(model.execTime[exec])} ${ran}${errno ? ` failed: ${errors[errno]}` : ""}`));
  }
  return part;
}
