// The block of data in the page -> a model: what tracer/views/timeline.py packs. All text in it is shown as text alone.

export const ENDED = 0, LIVES = 1, UNSEEN = 2;
const NO_UID = 0xffffffff;

async function inflated(text) {
  const raw = atob(text.trim());
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// A column's numbers: their first bytes lie together, then their second bytes, and so on.
function column(bytes, at, count, size) {
  const whole = new Uint8Array(count * size);
  for (let byte = 0; byte < size; byte++)
    for (let i = 0, from = at + byte * count; i < count; i++) whole[i * size + byte] = bytes[from + i];
  if (size === 8) return new BigUint64Array(whole.buffer);
  return size === 4 ? new Uint32Array(whole.buffer) : whole;
}

function columns(bytes, header, at) {
  const found = {};
  for (const [name, count, size] of header.columns) {
    found[name] = column(bytes, at, count, size);
    at += count * size;
  }
  return found;
}

// Where the items of each process begin in a list that is sorted by process; one more than there are processes.
function heads(processOfItem, n) {
  const head = new Uint32Array(n + 1);
  for (const process of processOfItem) head[process + 1]++;
  for (let i = 0; i < n; i++) head[i + 1] += head[i];
  return head;
}

function summed(deltas) {
  const sums = new Uint32Array(deltas.length);
  for (let i = 0, sum = 0; i < deltas.length; i++) sums[i] = sum += deltas[i];
  return sums;
}

// Times are ns since the recording's beginning, as numbers; `starts` are ns since boot, exact.
export async function read(text) {
  const bytes = await inflated(text);
  const length = new DataView(bytes.buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  const c = columns(bytes, header, 4 + length);
  const n = c.start.length, begin = BigInt(header.begin);
  const starts = new BigInt64Array(n), start = new Float64Array(n), end = new Float64Array(n);
  for (let i = 0, sum = 0n; i < n; i++) {
    starts[i] = sum = BigInt.asIntN(64, sum + c.start[i]);
    start[i] = Number(sum - begin);
    end[i] = start[i] + Number(c.lived[i]);
  }
  const execProcess = summed(c.exec_process), execTime = new Float64Array(execProcess.length);
  for (let i = 0; i < execProcess.length; i++) execTime[i] = start[execProcess[i]] + Number(c.exec_since[i]);
  const between = new Map();
  let at = 0;
  c.deep_process.forEach((process, i) => between.set(process, c.deep_numbers.subarray(at, (at += c.deep_count[i]))));
  const notes = header.notes.map(([kind, since, until, lane, lost, cpu, text, container]) =>
    ({ kind, since: Number(BigInt(since) - begin), until: Number(BigInt(until) - begin), lane, lost, cpu, text, container }));
  return {
    ...c, header, n, begin, starts, start, end, between, execProcess, execTime,
    execHead: heads(execProcess, n),
    span: Math.max(1000, Number(BigInt(header.end) - begin)),
    lanes: header.lanes,
    notes, gaps: notes.filter(({ kind }) => kind === "gap").sort((a, b) => a.since - b.since),
  };
}

export const identity = (model, i) => `${model.tgid[i]}-${model.starts[i]}`;

// The process with this identity; -1: there is none.
export function find(model, text) {
  const parts = /^(\d{1,10})-(\d{1,20})$/.exec(text ?? "");
  if (!parts) return -1;
  const tgid = Number(parts[1]), started = BigInt(parts[2]);
  let low = 0, high = model.n;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (model.starts[middle] < started) low = middle + 1;
    else high = middle;
  }
  for (; low < model.n && model.starts[low] === started; low++) if (model.tgid[low] === tgid) return low;
  return -1;
}

// The PIDs in all namespaces, the host's first.
export function pids(model, i) {
  if (model.level[i] === 0) return [model.tgid[i]];
  return [model.tgid[i], ...(model.between.get(i) ?? []), model.nr[i]];
}

export const command = (model, i) => model.header.commands[model.command[i]] || "";
export const comm = (model, i) => model.header.comms[model.comm[i]] || "?";
export const title = (model, i) => command(model, i) || comm(model, i);
export const uid = (model, i) => (model.uid[i] === NO_UID ? "not known" : String(model.uid[i]));

// What its bar's color and sign say: ok, fail, signal, lives, unseen.
export function outcome(model, i) {
  if (model.fate[i] === LIVES) return "lives";
  if (model.fate[i] === UNSEEN) return "unseen";
  const status = model.status[i];
  return status === 0 ? "ok" : status & 0x7f ? "signal" : "fail";
}

// Whether it ended with another code than 0, or by a signal.
export const hasFailed = (model, i) => ["fail", "signal"].includes(outcome(model, i));

export function ending(model, i) {
  if (model.fate[i] === LIVES) return "lived at the end of the recording";
  if (model.fate[i] === UNSEEN) return "ended; how was not reported";
  return model.header.endings[model.status[i]];
}
