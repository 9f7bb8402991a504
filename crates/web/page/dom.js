// Making elements. Text is only ever set as text: names of kernels come from a link that anybody wrote.

const SVG = "http://www.w3.org/2000/svg";

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes))
    if (value !== undefined && value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/// An HTML element.
export const make = (name, attributes = {}, ...children) => filled(document.createElement(name), attributes, children);

/// An SVG element.
export const draw = (name, attributes = {}, ...children) => filled(document.createElementNS(SVG, name), attributes, children);

/// The element of that id.
export const byId = (id) => document.getElementById(id);

/// Fills an element anew.
export const fill = (element, ...children) => element.replaceChildren(...children.flat().filter(Boolean));
