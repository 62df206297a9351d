// Where events were lost: gaps that lie close together are one place. tracer/past/bursts.py has the same rule.

const QUIET = 100e6, SHARE = 100; // ns without a loss that end a place; or this part of the recording

export function places(gaps, span) {
  const quiet = Math.max(QUIET, span / SHARE), found = [];
  for (const { since, until, lost } of gaps) {
    const last = found.at(-1);
    if (last && since - last.until < quiet) {
      last.until = Math.max(last.until, until);
      last.lost += lost ?? 0;
      last.gaps++;
    } else found.push({ since, until, lost: lost ?? 0, gaps: 1 });
  }
  return found;
}

export const lostIn = ({ lost, gaps }) => (gaps > 1 ? `${lost} lost in ${gaps} gaps` : `${lost} lost`);

// The place to go to from a window: the first in it or behind it (way 1), the last in it or ahead of it (-1); around the
// ends.
export function nextPlace(found, { from, until }, way) {
  const middle = (each) => (each.since + each.until) / 2;
  const at = way > 0 ? found.findIndex((each) => middle(each) >= from) : found.findLastIndex((each) => middle(each) <= until);
  return at >= 0 ? at : way > 0 ? 0 : found.length - 1;
}
