// Two runs on one line of time. Microseconds, delays and timers of seconds have to be seen on one
// screen, so time goes by moments: whenever anything happens on either side, a moment ends.

import { kernelName } from "./words.js";

/// A run of the model with what drawing it takes.
export function story(play) {
  const times = new Set();
  for (const side of play.sides) for (const step of side.steps) times.add(step.t);
  const moments = [...times].sort((a, b) => a - b);
  const place = new Map(moments.map((t, i) => [t, i + 1]));
  const sides = play.sides.map((side) => {
    const steps = side.steps.map((step) => ({ ...step, at: place.get(step.t) }));
    return { ...side, kernel: kernelName(side.kernel), steps, flights: flights(steps, play, moments) };
  });
  const parting = play.parting && {
    client: play.parting.client,
    steps: play.parting.steps,
    at: Math.min(...play.parting.steps.map((step, i) => (step === null ? Infinity : sides[i].steps[step].at))),
  };
  const durations = paced(moments);
  return { play, moments, sides, parting, durations };
}

/// How long each moment is shown, seconds: longer where more time goes by, and not too long in all.
function paced(moments) {
  const longest = 40;
  const plain = moments.map((t, i) => {
    const gap = i === 0 ? 0 : (t - moments[i - 1]) / 1e6;
    return 0.45 + 0.3 * Math.log10(1 + gap);
  });
  const all = plain.reduce((sum, d) => sum + d, 0);
  return plain.map((d) => d * Math.min(1, longest / all));
}

/// Where on the line a time is, moments.
export function placeOf(moments, t) {
  let [low, high] = [0, moments.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (moments[middle] < t) low = middle + 1;
    else high = middle;
  }
  if (moments[low] === t || low === 0) return low === 0 && moments[0] !== t ? 0.1 : low + 1;
  if (low === moments.length) return moments.length;
  return low + (t - moments[low - 1]) / (moments[low] - moments[low - 1]);
}

/// The time at a place between moments, nanoseconds.
export function timeAt(moments, place) {
  const last = Math.min(Math.floor(place), moments.length);
  if (last === 0) return null;
  const next = moments[last] ?? moments[last - 1];
  return moments[last - 1] + (next - moments[last - 1]) * (place - last);
}

/// What flies: from when to when, by whose row, in which direction, with which words.
const TO_SERVER = { syn: "SYN", ack: "ACK", data: "data", client_rst: "RST" };
const TO_CLIENT = { synack: "SYN-ACK", cookie: "SYN-ACK", rst: "RST" };

function flights(steps, play, moments) {
  const found = [];
  for (const step of steps) {
    const up = TO_SERVER[step.what];
    const word = up ?? TO_CLIENT[step.what];
    if (!word) continue;
    const left = placeOf(moments, step.t - (up ? play.to_server : play.to_client));
    // None is too fast to be seen.
    found.push({ from: Math.min(left, step.at - 0.75), to: step.at, client: step.client, up: Boolean(up), word, what: step.what });
  }
  return found.sort((a, b) => a.from - b.from);
}

/// What is so on one side once `at` moments have gone by: each client, both queues, the last decision.
export function stateAt(side, clients, at) {
  const rows = clients.map(() => ({ belief: "idle", decision: null, server: null, taken: false }));
  let queues = [0, 0];
  let last = null;
  const order = [];
  for (const [index, step] of side.steps.entries()) {
    if (step.at > at) break;
    const row = rows[step.client];
    if (step.server !== row.server) {
      const before = order.indexOf(step.client);
      if (before >= 0) order.splice(before, 1);
      order.push(step.client);
    }
    row.server = step.server;
    queues = step.queues;
    if (step.what === "accept") row.taken = true;
    if (step.what === "synack" || step.what === "cookie") {
      if (row.belief !== "reset") row.belief = "connected";
    } else if (step.what === "rst") row.belief = "reset";
    else if (step.what === "syn" && row.belief === "idle") row.belief = "waiting";
    if (step.decision) {
      row.decision = step.decision;
      last = index;
    }
  }
  const kept = (state) => order.filter((client) => rows[client].server === state && !rows[client].taken);
  return { rows, queues, last, syn: kept("SYN_RECV"), accept: kept("ESTABLISHED") };
}
