// The page as a whole: the link says what is asked, the model answers, the player shows it.

import { byId, fill, make } from "./dom.js";
import { form } from "./form.js";
import { Player } from "./player.js";
import { Side, whoIs } from "./side.js";
import { command, fromFragment, question, seed, toFragment } from "./state.js";
import { story, timeAt } from "./story.js";
import { Steps, fates } from "./tables.js";
import { load, parsed } from "./wasm.js";
import { clockWords, words as wordsOf } from "./words.js";

class Page {
  constructor(ask) {
    this.ask = ask;
    this.known = parsed(ask, { ask: "kernels" }).kernels.flatMap(({ names }) => names.split(", ")).filter((name) => !name.includes("ABI"));
    this.sides = [new Side(byId("left")), new Side(byId("right"))];
    this.player = new Player({
      show: (place) => this.show(place),
      rested: (place) => this.rested(place),
      turned: (playing) => this.turned(playing),
    });
    this.steps = new Steps(byId("steps"), (at) => this.goTo(at));
    this.listen();
    this.read();
  }

  listen() {
    const { player } = this;
    byId("play").addEventListener("click", () => player.toggle());
    byId("back").addEventListener("click", () => player.step(-1));
    byId("forth").addEventListener("click", () => player.step(1));
    byId("part").addEventListener("click", () => this.goTo(this.story.parting.at));
    byId("speed").addEventListener("change", (event) => { player.speed = Number(event.target.value); });
    byId("scrub").addEventListener("input", (event) => { player.stop(); player.go(Number(event.target.value)); });
    byId("reset").addEventListener("click", () => this.change(seed(), 0));
    byId("share").addEventListener("click", () => this.share());
    byId("form").addEventListener("submit", (event) => event.preventDefault());
    byId("nav-language").addEventListener("click", (event) => {
      event.preventDefault();
      this.said = this.lang === "zh" ? "en" : "zh";
      this.translate(this.said);
      this.run(Math.floor(player.place));
    });
    byId("answer").addEventListener("toggle", () => this.lines());
    window.addEventListener("hashchange", () => {
      if (location.hash !== this.written) this.read();
    });
    window.addEventListener("resize", () => {
      for (const side of this.sides) if (side.stage?.resize()) { side.shown = -1; side.show(player.place); }
    });
  }

  /// From the link.
  read() {
    const { state, at, lang } = fromFragment(location.hash);
    this.state = state;
    this.said = lang;
    this.translate(lang ?? (navigator.language.startsWith("zh") ? "zh" : "en"));
    this.run(at ?? 0);
  }

  translate(lang) {
    this.lang = lang;
    this.words = wordsOf(lang);
    document.documentElement.lang = lang === "zh" ? "zh-Hans" : "en";
    document.title = `${this.words.title} – overflow`;
    for (const element of document.querySelectorAll("[data-t]")) element.textContent = this.words[element.dataset.t];
    byId("seed").textContent = this.words.seedText;
    byId("why").textContent = this.words.seedWhy;
    byId("back").textContent = this.words.back;
    byId("forth").textContent = this.words.forth;
    byId("part").textContent = this.words.toPart;
    byId("scrub").setAttribute("aria-label", this.words.scrub);
    byId("clock").setAttribute("aria-label", this.words.clock);
    byId("nav-language").textContent = this.words.language;
    byId("nav-language").lang = lang === "zh" ? "en" : "zh-Hans";
    byId("nav-documents").href = lang === "zh" ? "documents.zh.html" : "documents.html";
    this.turned(this.player.playing);
  }

  change(state, at) {
    this.state = state;
    this.run(at);
  }

  /// Asks the model, and shows its answer from a moment on.
  run(at) {
    const { state, words, lang } = this;
    form(byId("form"), state, this.known, words, (name, value) => {
      this.change({ ...this.state, [name]: value }, 0);
      byId(`f-${name}`)?.focus();
    });
    for (const id of ["seed", "why"]) byId(id).hidden = toFragment(state, 0, null) !== "#";
    const trouble = byId("trouble");
    try {
      const kernels = [state.left, state.right];
      this.story = story(parsed(this.ask, { ask: "play", kernels, question: question(state) }));
      trouble.hidden = true;
    } catch (error) {
      trouble.textContent = error.message;
      trouble.hidden = false;
      return;
    }
    for (const [i, side] of this.sides.entries()) side.begin(this.story.sides[i], this.story, words, lang);
    fates(byId("fates"), this.story, words, lang);
    this.steps.begin(this.story, words, lang);
    this.summary();
    byId("command").textContent = command(state);
    byId("scrub").max = this.story.moments.length;
    byId("part").disabled = !this.story.parting;
    this.lines();
    this.player.begin(this.story.durations, at);
  }

  /// Where they part, in a sentence.
  summary() {
    const { story: { parting, sides, play }, words, lang } = this;
    const names = sides.map((side) => side.kernel);
    if (!parting) return fill(byId("verdict"), words.neverPart(...names));
    const said = parting.steps.map((step, i) => {
      const decision = step === null ? null : sides[i].steps[step].decision;
      return decision ? `${decision.label[lang === "zh" ? 1 : 0]} (${decision.condition})` : words.noMore;
    });
    const who = whoIs(play.clients[parting.client], words);
    fill(byId("verdict"), words.parting(who[0].toUpperCase() + who.slice(1), names[0], said[0], names[1], said[1]));
  }

  show(place) {
    const at = Math.floor(place);
    for (const side of this.sides) side.show(place);
    if (at !== this.at) {
      this.at = at;
      this.steps.show(at);
      byId("scrub").value = at;
      byId("verdict").classList.toggle("now", Boolean(this.story.parting) && at >= this.story.parting.at);
    }
    const t = timeAt(this.story.moments, place);
    const clock = t === null ? this.words.before : clockWords(t);
    if (clock !== this.clock) {
      this.clock = clock;
      byId("clock").textContent = clock;
      byId("scrub").setAttribute("aria-valuetext", clock);
    }
  }

  /// It stands still: the link says where, and a screen reader what.
  rested(place) {
    const at = Math.floor(place);
    byId("said").textContent = at === 0 ? this.words.before : this.sides.map((side) => side.said()).join(". ");
    this.written = toFragment(this.state, at, this.said);
    if (this.written === "#" && !location.hash) return;
    history.replaceState(null, "", this.written);
  }

  goTo(at) {
    this.player.stop();
    this.player.go(at);
    byId("player").scrollIntoView({ block: "nearest" });
  }

  turned(playing) {
    byId("play").textContent = playing ? this.words.pause : this.words.play;
    byId("play").setAttribute("aria-pressed", String(playing));
  }

  async share() {
    this.written = toFragment(this.state, Math.floor(this.player.place), this.said);
    history.replaceState(null, "", this.written);
    const copied = await navigator.clipboard?.writeText(location.href).then(() => true, () => false);
    byId("shared").textContent = copied ? this.words.copied : this.words.notCopied;
  }

  /// Only when they are looked at: of many clients they are long.
  lines() {
    const { left, right } = this.state;
    if (!byId("answer").open) return fill(byId("lines"));
    const asked = question(this.state);
    const said = [
      ...[left, right].map((kernel) => this.ask({ ask: "predict", kernel, question: asked })),
      this.ask({ ask: "compare", kernels: [left, right], question: asked }),
    ];
    fill(byId("lines"), said.join(""));
  }
}

load(byId("model").textContent.trim())
  .then((ask) => {
    // For tests, and for whoever wants to ask it by hand.
    window.overflow = { ask, page: new Page(ask) };
    performance.mark("overflow");
  })
  .catch((error) => {
    fill(byId("trouble"), make("span", {}, String(error)));
    byId("trouble").hidden = false;
  });
