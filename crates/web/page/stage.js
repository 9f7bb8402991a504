// The picture of one side: a row for each client, segments flying along it, the listener at its end.

import { draw, fill } from "./dom.js";

const MARKS = { idle: "·", waiting: "…", connected: "✓", reset: "✕" };

export class Stage {
  /// Inside `holder`; `clients` as the model names them.
  constructor(holder, clients) {
    this.clients = clients;
    const many = clients.length;
    this.rowHeight = many <= 8 ? 30 : many <= 16 ? 24 : 15;
    this.height = many * this.rowHeight + 8;
    this.svg = draw("svg", { class: "stage", role: "img", height: this.height, width: "100%" });
    this.pills = [];
    fill(holder, this.svg);
    this.width = 0;
    this.resize();
  }

  /// Lays it out for its width; whether that has changed.
  resize() {
    const width = Math.max(240, Math.round(this.svg.getBoundingClientRect().width));
    if (width === this.width) return false;
    this.width = width;
    this.svg.setAttribute("viewBox", `0 0 ${width} ${this.height}`);
    this.from = 56;
    this.to = width - 12;
    const small = this.rowHeight < 20;
    const size = small ? 11 : 13;
    this.rows = this.clients.map((client, i) => {
      const y = this.y(i);
      const name = client.phase === "prefill" ? `p${client.number}` : `${client.number}`;
      const belief = draw("text", { x: 40, y: y + size * 0.36, "text-anchor": "middle", "font-size": size });
      const verdict = draw("text", { x: this.to - 6, y: y + size * 0.36, "text-anchor": "end", "font-size": size - 1, class: "id" });
      const row = draw("g", {},
        draw("text", { x: 14, y: y + size * 0.36, "text-anchor": "middle", "font-size": size, class: "number" }, name),
        belief, draw("line", { x1: this.from, x2: this.to, y1: y, y2: y, class: "track" }), verdict);
      return { row, belief, verdict };
    });
    this.air = draw("g", {});
    this.pills = [];
    fill(this.svg, this.rows.map(({ row }) => row),
      draw("line", { x1: this.to, x2: this.to, y1: 2, y2: this.height - 2, class: "listener" }), this.air);
    return true;
  }

  y(client) {
    return client * this.rowHeight + this.rowHeight / 2 + 4;
  }

  /// What is so after a moment.
  show(now, parted, label) {
    this.svg.setAttribute("aria-label", label);
    for (const [i, state] of now.rows.entries()) {
      const drawn = this.rows[i];
      // Of most clients nothing is new.
      const is = `${state.belief} ${parted === i} ${state.decision?.id}`;
      if (drawn.is === is) continue;
      drawn.is = is;
      drawn.row.setAttribute("class", `client ${state.belief} ${parted === i ? "parted" : ""}`);
      drawn.belief.textContent = MARKS[state.belief];
      drawn.verdict.textContent = state.decision?.id ?? "";
      drawn.verdict.setAttribute("class", `id tone-${state.decision?.tone ?? "plain"}`);
    }
  }

  /// What is in the air between moments.
  fly(flights, place) {
    let used = 0;
    for (const flight of flights) {
      if (flight.from > place) break;
      if (flight.to <= place) continue;
      const pill = this.pills[used] ?? this.pill();
      used += 1;
      const gone = (place - flight.from) / (flight.to - flight.from);
      const width = 10 + flight.word.length * 7;
      const edge = this.to - width - 3;
      const [a, b] = flight.up ? [this.from, edge] : [edge, this.from];
      const x = a + (b - a) * gone;
      if (pill.word !== flight.what) {
        pill.word = flight.what;
        pill.text.textContent = flight.word;
        pill.box.setAttribute("width", width);
        pill.text.setAttribute("x", width / 2);
        pill.group.setAttribute("class", `pill ${flight.what}`);
      }
      pill.group.setAttribute("transform", `translate(${x.toFixed(1)} ${this.y(flight.client) - 8})`);
    }
    for (let i = used; i < this.pills.length; i++) {
      if (this.pills[i].word) {
        this.pills[i].word = null;
        this.pills[i].group.setAttribute("class", "pill away");
      }
    }
  }

  pill() {
    const box = draw("rect", { height: 16, rx: 8 });
    const text = draw("text", { y: 12, "text-anchor": "middle", "font-size": 11 });
    const group = draw("g", { class: "pill away" }, box, text);
    this.air.append(group);
    const pill = { group, box, text, word: null };
    this.pills.push(pill);
    return pill;
  }
}
