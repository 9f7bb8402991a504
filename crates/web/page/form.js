// The settings of the experiment.

import { fill, make } from "./dom.js";
import { FIELDS, taken } from "./state.js";

/// What is seen at once; the rest is behind "more".
const FIRST = ["left", "right", "backlog", "somaxconn", "cookies", "abort", "delay", "clients", "spacing", "accept"];

/// Draws them; `changed` is called with a name and a value.
export function form(holder, state, kernels, words, changed) {
  const known = make("datalist", { id: "kernels" }, kernels.map((name) => make("option", { value: name })));
  const control = (name) => {
    const field = FIELDS[name];
    const id = `f-${name}`;
    const input = field.choices
      ? make("select", { id }, field.choices.map((value) => make("option", { value, selected: value === state[name] }, value)))
      : field.text
        ? make("input", { id, list: "kernels", value: state[name], spellcheck: "false", autocapitalize: "off" })
        : make("input", { id, type: "number", min: field.min, max: field.max, step: field.step ?? 1, value: state[name] });
    input.addEventListener("change", () => {
      const value = taken(name, input.value);
      input.value = value;
      changed(name, value);
    });
    return make("div", { class: field.text ? "field wide-field" : "field" }, make("label", { for: id }, words[name]), input);
  };
  const rest = Object.keys(FIELDS).filter((name) => !FIRST.includes(name));
  const more = make("details", { open: rest.some((name) => state[name] !== FIELDS[name].first) },
    make("summary", {}, words.more), make("div", { class: "fields" }, rest.map(control)));
  fill(holder, known, make("div", { class: "fields" }, FIRST.map(control)), more);
}
