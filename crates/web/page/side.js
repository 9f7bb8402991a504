// One kernel: its name, its queues, its stage, and what it decided last.

import { fill, make } from "./dom.js";
import { Stage } from "./stage.js";
import { stateAt } from "./story.js";
import { clockWords } from "./words.js";

/// Queues of more places than that are drawn as a bar.
const MOST_PLACES = 20;

export class Side {
  constructor(holder) {
    this.holder = holder;
  }

  /// A new run.
  begin(side, story, words, lang) {
    Object.assign(this, { side, story, words, lang, shown: -1 });
    const { kernel, regime, tag } = side;
    this.queues = [make("div", { class: "queue" }), make("div", { class: "queue" })];
    const stage = make("div", {});
    this.card = make("div", { class: "card" });
    fill(this.holder,
      make("h3", { id: `${this.holder.id}-h` }, kernel, make("span", { class: "note" }, ` · ${words.rule} ${regime}`)),
      this.queues, this.card, stage, this.notes());
    this.stage = new Stage(stage, story.play.clients);
    this.tag = tag;
  }

  notes() {
    const { side, words, lang } = this;
    const doubt = side.doubt && `${words.doubt}: ${side.doubt}${side.alternative ? `; ${words.alternative}` : ""}`;
    const page = lang === "zh" ? "topics.zh.html" : "topics.html";
    const why = side.topics.map((topic) => [" ", make("a", { href: `${page}#${topic}` }, topic)]);
    return [doubt && make("p", { class: "note" }, doubt),
      side.undetermined && make("p", { class: "note" }, words.undetermined),
      make("p", { class: "note why" }, `${words.why}:`, why.flat())];
  }

  /// Everything as it is at a place of the story.
  show(place) {
    const at = Math.floor(place);
    if (at !== this.shown) {
      this.shown = at;
      this.now = stateAt(this.side, this.story.play.clients, at);
      this.showNow(at);
    }
    this.stage.fly(this.side.flights, place);
  }

  showNow(at) {
    const { now, side, words, story } = this;
    const t = at === 0 ? words.before : clockWords(story.moments[at - 1]);
    const parted = story.parting && at >= story.parting.at ? story.parting.client : null;
    this.stage.show(now, parted, words.stage(side.kernel, t, now.queues[0], now.queues[1]));
    this.queue(0, words.synQueue, now.syn, side.syn_queue_holds);
    this.queue(1, words.acceptQueue, now.accept, side.accept_queue_holds);
    this.decided(at);
  }

  queue(i, name, members, holds) {
    const length = this.now.queues[i];
    const { words } = this;
    const full = length >= holds;
    const count = make("span", { class: `count ${full ? "full" : ""}` }, `${length} ${words.of} ${holds}${full ? ` · ${words.full}` : ""}`);
    const label = make("span", { class: "name" }, name);
    const places = Math.max(holds, length);
    const room = make("span", { class: "room", "aria-hidden": "true" });
    if (places <= MOST_PLACES) {
      for (let place = 0; place < places; place++) {
        const client = this.story.play.clients[members[place]];
        const held = place < length && members.length === length;
        const over = place >= holds;
        room.append(make("i", { class: `${place < length ? "held" : ""} ${over ? "over" : ""}` },
          held ? `${client.phase === "prefill" ? "p" : ""}${client.number}` : ""));
      }
    } else {
      const part = Math.min(1, length / holds);
      room.append(make("b", { class: "gauge", style: `--part:${(part * 100).toFixed(1)}%` }));
    }
    fill(this.queues[i], label, count, room);
  }

  decided(at) {
    const { now, side, words, lang, story } = this;
    const index = now.last;
    if (index === null) {
      fill(this.card, make("p", { class: "note" }, words.nothing));
      this.card.className = "card";
      return;
    }
    const step = side.steps[index];
    const { decision } = step;
    const parting = story.parting && story.parting.steps[this.holder.id === "left" ? 0 : 1] === index;
    this.card.className = `card ${parting ? "parting" : ""} ${step.at === at ? "now" : ""}`;
    fill(this.card,
      make("p", { class: "note" }, `${clockWords(step.t)} · ${words.whats[step.what]} · ${this.who(step.client)}`),
      make("p", {}, make("b", { class: `tone-${decision.tone}` }, decision.label[lang === "zh" ? 1 : 0]), " ", make("code", { class: "id" }, decision.id)),
      make("p", {}, make("a", { href: decision.url, rel: "noreferrer" }, `${decision.function}()`), make("span", { class: "note" }, ` · ${words.source(this.tag)}`)),
      make("pre", {}, make("code", {}, decision.expression)),
      make("p", {}, make("code", { class: "values" }, decision.condition)));
  }

  who(client) {
    return whoIs(this.story.play.clients[client], this.words);
  }

  /// What it decided last, as a sentence for those who do not see the page.
  said() {
    const step = this.side.steps[this.now.last];
    if (!step) return "";
    return `${this.side.kernel}: ${this.words.whats[step.what]}, ${this.who(step.client)}: ${step.decision.label[this.lang === "zh" ? 1 : 0]}`;
  }
}

/// A client by its number.
export const whoIs = (client, words) =>
  `${client.phase === "prefill" ? words.prefillClient : words.client} ${client.number}`;
