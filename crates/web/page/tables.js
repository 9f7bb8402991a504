// The whole run as tables: what every client came to, and every decision in order.

import { fill, make } from "./dom.js";
import { whoIs } from "./side.js";
import { clockWords } from "./words.js";

const pick = (pair, lang) => pair[lang === "zh" ? 1 : 0];

function table(caption, heads, rows) {
  return make("table", {}, make("caption", { class: "hidden" }, caption),
    make("thead", {}, make("tr", {}, heads.map((head) => make("th", { scope: "col" }, head)))),
    make("tbody", {}, rows));
}

/// Equal fates of neighbours together.
export function fates(holder, story, words, lang) {
  const { clients } = story.play;
  const fate = (i) => story.sides.map((side) => side.fates[i]);
  const key = (i) => JSON.stringify([clients[i].phase, fate(i)]);
  const rows = [];
  for (let i = 0; i < clients.length; ) {
    let next = i;
    while (next < clients.length && key(next) === key(i)) next += 1;
    const [a, b] = [clients[i], clients[next - 1]];
    const name = a.phase === "prefill" || i + 1 === next ? [whoIs(a, words), a !== b && `–${b.number}`] : [words.range(a.number, b.number)];
    const [left, right] = fate(i);
    const differ = left.class !== right.class;
    rows.push(make("tr", { class: differ ? "differ" : "" }, make("th", { scope: "row" }, name),
      fate(i).map((one) => make("td", {},
        make("b", { class: `tone-${one.tone}` }, one.outcome ? pick(one.outcome, lang) : ""),
        make("span", { class: "note" }, ` ${words.clientBelieves} ${one.client}, ${words.serverHas} ${one.server ?? "–"}`)))));
    i = next;
  }
  fill(holder, table(words.fates, [words.client, ...story.sides.map((side) => side.kernel)], rows));
}

/// A row for each time, client and segment at which a kernel decides; `go` is called with a moment.
export class Steps {
  constructor(holder, go) {
    Object.assign(this, { holder, go, rows: [], marked: [] });
  }

  begin(story, words, lang) {
    const found = new Map();
    for (const [i, side] of story.sides.entries())
      for (const [index, step] of side.steps.entries()) {
        if (!step.decision) continue;
        const key = `${step.at} ${step.client} ${step.what}`;
        if (!found.has(key)) found.set(key, { step, sides: [[], []] });
        found.get(key).sides[i].push([index, step.decision]);
      }
    const ordered = [...found.values()].sort((a, b) => a.step.at - b.step.at);
    this.rows = ordered.map(({ step, sides }) => {
      const button = make("button", { type: "button", class: "link" }, clockWords(step.t));
      button.addEventListener("click", () => this.go(step.at));
      const cells = sides.map((decided, i) => make("td", {}, decided.map(([index, decision]) => make("p", { class: story.parting?.steps[i] === index ? "parting" : "" },
        make("b", { class: `tone-${decision.tone}` }, pick(decision.label, lang)), " ", make("code", {}, decision.condition)))));
      const row = make("tr", {}, make("th", { scope: "row" }, button),
        make("td", {}, `${words.whats[step.what]} · ${whoIs(story.play.clients[step.client], words)}`), cells);
      return { row, at: step.at };
    });
    this.byMoment = Map.groupBy(this.rows, ({ at }) => at);
    for (const [at, rows] of this.byMoment) this.byMoment.set(at, rows.map(({ row }) => row));
    this.marked = [];
    fill(this.holder, table(words.steps, [words.time, words.what, ...story.sides.map((side) => side.kernel)], this.rows.map(({ row }) => row)));
  }

  /// Marks the rows of a moment.
  show(at) {
    for (const row of this.marked) row.removeAttribute("aria-current");
    this.marked = this.byMoment.get(at) ?? [];
    for (const row of this.marked) row.setAttribute("aria-current", "step");
  }
}
