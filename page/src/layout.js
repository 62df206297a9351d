// Where each process stands: a row in its lane, below its parent. Processes that follow each other share a row.

export const ROW = 16, HEAD = 22;
const LOOK = 48; // rows that are tried one by one; beyond, the one that has been free for longest is taken

// A heap of [time, row], the earliest first. What is not true any more is dropped when it comes up.
class Earliest {
  constructor() { this.times = []; this.rows = []; }
  push(time, row) {
    let at = this.times.length;
    this.times.push(time); this.rows.push(row);
    for (let up; at > 0 && this.times[(up = (at - 1) >> 1)] > time; at = up) this.swap(at, up);
  }
  swap(a, b) {
    [this.times[a], this.times[b]] = [this.times[b], this.times[a]];
    [this.rows[a], this.rows[b]] = [this.rows[b], this.rows[a]];
  }
  pop() {
    const row = this.rows[0], last = this.times.length - 1;
    this.swap(0, last); this.times.pop(); this.rows.pop();
    for (let at = 0, next; (next = 2 * at + 1) < last; at = next) {
      if (next + 1 < last && this.times[next + 1] < this.times[next]) next++;
      if (this.times[at] <= this.times[next]) break;
      this.swap(at, next);
    }
    return row;
  }
}

// Rows that are filled from the left; each is free from a moment on.
class Shelf {
  constructor() { this.free = []; this.heap = new Earliest(); }
  fits(row, height, start) {
    for (let i = row; i < row + height && i < this.free.length; i++) if (this.free[i] > start) return false;
    return true;
  }
  find(height, start) {
    const most = Math.min(this.free.length, LOOK);
    for (let row = 0; row < most; row++) if (this.fits(row, height, start)) return row;
    const { heap, free } = this;
    while (height === 1 && heap.times.length && heap.times[0] <= start) {
      const time = heap.times[0], row = heap.pop();
      if (free[row] === time) return row;
    }
    return free.length;
  }
  put(height, start, end) {
    const row = this.find(height, start);
    for (let i = row; i < row + height; i++) {
      this.free[i] = end;
      if (i >= LOOK) this.heap.push(end, i);
    }
    return row;
  }
}

// Each process's row in its lane, and how many rows each lane has.
function rowsOf(model) {
  const { n, parent, lane, start, end } = model;
  const first = new Int32Array(n).fill(-1), next = new Int32Array(n).fill(-1);
  const roots = model.lanes.map(() => []);
  for (let i = n - 1; i >= 0; i--) {
    const up = parent[i] - 1;
    if (up < 0 || lane[up] !== lane[i]) roots[lane[i]].push(i);
    else { next[i] = first[up]; first[up] = i; }
  }
  const height = new Uint32Array(n), until = new Float64Array(n), below = new Uint32Array(n);
  const stand = (i, shelf) => { below[i] = shelf.put(height[i], start[i], until[i]); };
  for (let i = n - 1; i >= 0; i--) {
    until[i] = end[i];
    height[i] = 1;
    if (first[i] < 0) continue;
    const shelf = new Shelf();
    for (let child = first[i]; child >= 0; child = next[child]) {
      stand(child, shelf);
      until[i] = Math.max(until[i], until[child]);
    }
    height[i] += shelf.free.length;
  }
  const counts = roots.map((own) => {
    const shelf = new Shelf();
    for (let at = own.length - 1; at >= 0; at--) stand(own[at], shelf);
    return shelf.free.length;
  });
  const row = below;
  for (let i = 0; i < n; i++) {
    const up = parent[i] - 1;
    if (up >= 0 && lane[up] === lane[i]) row[i] = row[up] + 1 + below[i];
  }
  return { row, counts };
}

// Lanes in the order of the page: containers by the start of their first process, nested ones below what is around
// them, the host last.
function ordered(model) {
  const inside = new Map(), began = model.lanes.map(() => Infinity);
  for (let i = model.n - 1; i >= 0; i--) began[model.lane[i]] = model.start[i];
  model.lanes.forEach((lane, at) => inside.set(lane.parent, [...(inside.get(lane.parent) ?? []), at]));
  const isHost = (at) => !model.lanes[at].container && model.lanes[at].level === 0;
  const found = [];
  const visit = (parent, depth) => {
    const own = (inside.get(parent) ?? []).sort((a, b) => isHost(a) - isHost(b) || began[a] - began[b]);
    for (const at of own) { found.push({ at, depth }); visit(at, depth + 1); }
  };
  visit(-1, 0);
  return found;
}

export function layout(model) {
  const { row, counts } = rowsOf(model);
  const noted = new Set(model.notes.filter(({ kind }) => kind !== "gap").map(({ lane }) => lane));
  const lanes = ordered(model).map(({ at, depth }) =>
    ({ at, depth, rows: counts[at], head: HEAD + (noted.has(at) ? ROW : 0), y: 0, base: 0, isOpen: true }));
  let base = 0;
  const laneOf = [];
  for (const lane of lanes) { lane.base = base; base += lane.rows; laneOf[lane.at] = lane; }
  const head = new Uint32Array(base + 1);
  for (let i = 0; i < model.n; i++) { row[i] += laneOf[model.lane[i]].base; head[row[i] + 1]++; }
  for (let i = 0; i < base; i++) head[i + 1] += head[i];
  const fill = head.slice(), order = new Uint32Array(model.n);
  for (let i = 0; i < model.n; i++) order[fill[row[i]]++] = i;
  const found = { row, head, order, lanes, laneOf, height: 0 };
  place(found);
  return found;
}

// The lanes' places from top to bottom; closed ones have their heading alone. head: the height of the heading with what
// happened to the container below it.
export function place(plan) {
  let y = 0;
  for (const lane of plan.lanes) {
    lane.y = y;
    lane.height = lane.isOpen ? lane.head + lane.rows * ROW : HEAD;
    y += lane.height;
  }
  plan.height = y;
}

export function yOf(plan, model, i) {
  const lane = plan.laneOf[model.lane[i]];
  return lane.isOpen ? lane.y + lane.head + (plan.row[i] - lane.base) * ROW : lane.y;
}

export const laneAt = (plan, y) => plan.lanes.find((lane) => y >= lane.y && y < lane.y + lane.height);

// The process at a place; a short one counts as a few pixels wide. -1: there is none.
export function processAt(plan, model, y, time, slack) {
  const lane = laneAt(plan, y);
  if (!lane || !lane.isOpen || y < lane.y + lane.head) return -1;
  const row = lane.base + Math.floor((y - lane.y - lane.head) / ROW);
  let best = -1, least = slack;
  for (let at = firstEnding(plan, model, row, time - slack); at < plan.head[row + 1]; at++) {
    const i = plan.order[at], far = Math.max(model.start[i] - time, time - model.end[i], 0);
    if (model.start[i] > time + slack) break;
    if (far <= least) { best = i; least = far; if (!far) break; }
  }
  return best;
}

// Where in the order a row's processes begin that end after a time.
export function firstEnding(plan, model, row, time) {
  let low = plan.head[row], high = plan.head[row + 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (model.end[plan.order[middle]] < time) low = middle + 1;
    else high = middle;
  }
  return low;
}
