// Times as text, and where an axis has its ticks.

import { scaleTime, scaleUtc } from "d3-scale";

const MS = 1e6, SECOND = 1e9;

// from: when the recording begins, ns since the epoch (BigInt). isUtc: a function. Times are ns after that.
export function clock(from, isUtc) {
  const date = (ns) => new Date(Number((from + BigInt(Math.floor(ns))) / 1000000n));
  const below = (ns) => Number((from + BigInt(Math.floor(ns))) % 1000000000n); // ns in the second

  function parts(ns) {
    const when = date(ns), utc = isUtc() ? "UTC" : "";
    const get = (name) => String(when[`get${utc}${name}`]()).padStart(2, "0");
    return { when, day: `${get("FullYear")}-${String(when[`get${utc}Month`]() + 1).padStart(2, "0")}-${get("Date")}`,
      second: `${get("Hours")}:${get("Minutes")}:${get("Seconds")}` };
  }

  // A moment; digits: of the second.
  function text(ns, digits = 6) {
    const { second } = parts(ns);
    return digits ? `${second}.${String(below(ns)).padStart(9, "0").slice(0, digits)}` : second;
  }

  const day = (ns) => parts(ns).day;
  const zone = () => (isUtc() ? "UTC" : Intl.DateTimeFormat().resolvedOptions().timeZone || "local time");

  // At most about `count` ticks between two times.
  function ticks(a, b, count) {
    if (b - a < count * 20 * MS) return round(a, b, count);
    const make = isUtc() ? scaleUtc : scaleTime;
    const first = (from + BigInt(Math.floor(a))) / 1000000n;
    return make().domain([date(a), date(b)]).ticks(count)
      .map((when) => a + (when.getTime() - Number(first)) * MS - Number((from + BigInt(Math.floor(a))) % 1000000n))
      .filter((ns) => ns >= a && ns <= b);
  }

  // Below milliseconds, which is what dates can say: multiples of 1, 2 or 5 in the fraction of the second.
  function round(a, b, count) {
    const least = (b - a) / count, power = 10 ** Math.floor(Math.log10(least));
    const step = Math.max(1, power * ([1, 2, 5].find((each) => each * power >= least) ?? 10));
    const second = a - below(a), found = [];
    for (let at = Math.ceil((a - second) / step); second + at * step <= b; at++) found.push(second + at * step);
    return found;
  }

  function tick(ns, span) {
    if (span > 2 * 86400 * SECOND) return day(ns);
    const digits = span > 10 * SECOND ? 0 : span > 20 * MS ? 3 : span > 20e3 ? 6 : 9;
    return text(ns + 0.5, digits);
  }

  return { text, day, zone, ticks, tick };
}

export function duration(ns) {
  if (ns < 1e6) return `${(ns / 1e3).toFixed(ns < 1e4 ? 1 : 0)} µs`;
  if (ns < 1e9) return `${(ns / 1e6).toFixed(ns < 1e7 ? 1 : 0)} ms`;
  if (ns < 120e9) return `${(ns / 1e9).toFixed(1)} s`;
  const minutes = ns / 60e9;
  return minutes < 180 ? `${minutes.toFixed(0)} min` : `${(minutes / 60).toFixed(1)} h`;
}
