// What is shown, and its link: everything that is not as in the first experiment stands in the fragment.

const MS = 1e6;

/// The fields of an experiment: first value, bounds, and the option of `overflow predict`.
export const FIELDS = {
  left: { first: "centos7", text: true },
  right: { first: "ubuntu24.04", text: true },
  backlog: { first: 1, min: 0, max: 65535, option: "--backlog" },
  somaxconn: { first: "", min: 0, max: 65535, option: "--somaxconn", optional: true },
  cookies: { first: 1, min: 0, max: 2, choices: [0, 1, 2], option: "--syncookies" },
  abort: { first: 1, min: 0, max: 1, choices: [0, 1], option: "--abort-on-overflow" },
  delay: { first: 200, min: 0, max: 2000, option: "--delay", unit: "ms" },
  clients: { first: 5, min: 1, max: 64, option: "--clients" },
  spacing: { first: 0.03, min: 0, max: 5000, step: "any", option: "--spacing", unit: "ms" },
  prefill: { first: 0, min: 0, max: 32, option: "--prefill" },
  accept: { first: 0, min: 0, max: 60000, option: "--accept-every", unit: "ms" },
  payload: { first: 0, min: 0, max: 1000, option: "--payload" },
  defer: { first: 0, min: 0, max: 60, option: "--defer-accept" },
  syns: { first: 128, min: 1, max: 65535, option: "--max-syn-backlog" },
  hold: { first: 5, min: 1, max: 120, option: "--hold", unit: "s" },
};

/// The first experiment.
export const seed = () =>
  Object.fromEntries(Object.entries(FIELDS).map(([name, field]) => [name, field.first]));

/// A value as the field takes it; what it does not take is its first one.
export function taken(name, text) {
  const field = FIELDS[name];
  if (field.text) return text.trim().slice(0, 64) || field.first;
  if (field.optional && String(text).trim() === "") return "";
  const number = Number(text);
  if (!Number.isFinite(number)) return field.first;
  const bound = Math.min(field.max, Math.max(field.min, number));
  // Whole microseconds, so that a link means the same everywhere.
  return field.step === "any" ? Math.round(bound * 1000) / 1000 : Math.round(bound);
}

/// Reads a fragment: `{ state, at, lang }`, the last two `null` where it does not say.
export function fromFragment(fragment) {
  const given = new URLSearchParams(fragment.replace(/^#/, ""));
  const state = seed();
  for (const name of Object.keys(FIELDS)) if (given.has(name)) state[name] = taken(name, given.get(name));
  const at = given.has("at") ? Math.max(0, Math.round(Number(given.get("at"))) || 0) : null;
  const lang = ["en", "zh"].includes(given.get("lang")) ? given.get("lang") : null;
  return { state, at, lang };
}

/// Writes one.
export function toFragment(state, at, lang) {
  const said = new URLSearchParams();
  for (const [name, field] of Object.entries(FIELDS))
    if (state[name] !== field.first) said.set(name, state[name]);
  if (at > 0) said.set("at", at);
  if (lang) said.set("lang", lang);
  return `#${said}`;
}

/// The question that the model is asked.
export function question(state) {
  return {
    clients: state.clients, spacing: Math.round(state.spacing * MS), backlog: state.backlog,
    delay: state.delay * MS, abort_on_overflow: state.abort, syncookies: state.cookies,
    somaxconn: state.somaxconn === "" ? null : state.somaxconn, max_syn_backlog: state.syns,
    prefill: state.prefill, payload: state.payload, hold: state.hold * 1000 * MS,
    defer_accept: state.defer, accept_every: state.accept * MS,
  };
}

/// A word that a shell takes as it stands.
const quoted = (word) => (/^[\w.,:=@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

/// The same question for a terminal.
export function command(state) {
  const words = ["overflow predict --compare", quoted(`${state.left},${state.right}`)];
  for (const [name, field] of Object.entries(FIELDS)) {
    if (!field.option) continue;
    // The program's own default is both values of these two.
    const always = field.choices !== undefined;
    if (always || state[name] !== field.first) words.push(`${field.option} ${state[name]}${field.unit ?? ""}`);
  }
  return words.join(" ");
}
