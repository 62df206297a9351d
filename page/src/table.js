// What is seen in the picture as a table, for those who do not see it.

import { command, comm, ending, pids } from "./data.js";
import { button, byId, element } from "./dom.js";
import { lostIn, places } from "./gaps.js";
import { HEAD, ROW, yOf } from "./layout.js";
import { duration } from "./times.js";

const MOST = 200, MOST_PLACES = 20;
const TITLES = ["began", "lived", "container", "PIDs, host first", "name", "command", "how it ended"];

// The processes that are seen: in the window of time and among the rows, and hits where something is searched for.
export function seen(model, plan, state, most) {
  const found = [];
  for (let i = 0; i < model.n && model.start[i] <= state.until; i++) {
    if (model.end[i] < state.from || (state.hits && !state.hits[i])) continue;
    const y = yOf(plan, model, i);
    if (y + ROW <= state.top + HEAD || y >= state.top + state.height) continue;
    found.push(i);
    if (found.length > most) break;
  }
  return found;
}

export function showTable(model, plan, state, clock, select) {
  const found = seen(model, plan, state, MOST);
  const table = byId("rows");
  const head = element("tr");
  TITLES.forEach((title) => head.append(element("th", title, { scope: "col" })));
  table.tHead.replaceChildren(head);
  table.tBodies[0].replaceChildren(...found.slice(0, MOST).map((i) => row(model, clock, i, select)));
  const many = found.length > MOST ? `The first ${MOST} processes` : `${found.length} process${found.length === 1 ? "" : "es"}`;
  table.caption.textContent = `${many} from ${clock.text(state.from)} to ${clock.text(state.until)}. ${missing(model, state, clock)}`.trim();
}

// Where events were lost in the window, at most MOST_PLACES of that by name, and how many in all.
function missing(model, state, clock) {
  const seen = model.gaps.filter((gap) => gap.until >= state.from && gap.since <= state.until);
  if (!seen.length) return "";
  const found = places(seen, state.until - state.from), all = lostIn({ lost: seen.reduce((sum, gap) => sum + (gap.lost ?? 0), 0), gaps: seen.length });
  const named = found.slice(0, MOST_PLACES).map((place) => `${lostIn(place)} at ${clock.text(place.since)}`);
  const more = found.length > MOST_PLACES ? `; and ${found.length - MOST_PLACES} more places` : "";
  return found.length > 1 ? `Events were lost: ${all}: ${named.join("; ")}${more}.` : `Events were lost: ${named[0]}.`;
}

function row(model, clock, i, select) {
  const made = element("tr"), first = element("td");
  first.append(button(clock.text(Math.max(0, model.start[i])), () => select(i, true)));
  const cells = [duration(model.end[i] - model.start[i]), model.lanes[model.lane[i]].label, pids(model, i).join(" > "),
    comm(model, i), command(model, i), ending(model, i)];
  made.append(first, ...cells.map((text) => element("td", text)));
  return made;
}
