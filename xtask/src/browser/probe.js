// What is wrong with the page that this runs in, as sentences. `wide`: what it is said to be wide; `alone`:
// whether it may run nothing and lead nowhere.
(wide, alone) => {
  const faults = [];
  const fault = (text) => { if (faults.length < 20) faults.push(text); };
  const all = (selector) => [...document.querySelectorAll(selector)];
  const said = (element) => `<${element.localName}> "${element.textContent.trim().slice(0, 40)}"`;

  const overflow = () => {
    const width = document.documentElement.scrollWidth;
    if (width > wide) fault(`it is ${width} px wide where there are ${wide}`);
  };

  // Drawn: a headline on the first screen, and words below it.
  const h1 = all("h1");
  if (h1.length !== 1) fault(`it has ${h1.length} first headings`);
  else if (h1[0].getBoundingClientRect().height < 10 || h1[0].getBoundingClientRect().top > 300)
    fault("its headline is not on the first screen");
  if (document.body.innerText.length < 200) fault("it says next to nothing");
  for (const mark of all("svg.mark, .seq svg, .chart svg")) {
    if (!mark.checkVisibility()) continue;
    const box = mark.getBoundingClientRect();
    if (box.width < 4 || box.height < 4) fault(`a picture is ${box.width} x ${box.height} px`);
  }

  overflow();
  for (const details of all("details")) details.open = true;
  overflow();

  // Structure.
  if (!document.documentElement.lang) fault("it names no language");
  if (!document.title.trim()) fault("it has no title");
  if (all("main").length !== 1) fault("it has no main part");
  if (alone && all("script").length) fault("it has a script");
  let level = 0;
  for (const heading of all("h1, h2, h3, h4, h5, h6")) {
    const now = Number(heading.localName[1]);
    if (now > level + 1) fault(`${said(heading)} skips a level`);
    level = now;
  }
  for (const table of all("table")) {
    if (!table.caption) fault("a table has no caption");
    for (const th of table.querySelectorAll("th"))
      if (!th.scope) fault(`${said(th)} has no scope`);
  }
  for (const svg of all("svg")) {
    if (svg.closest("svg[role=img]") !== svg && svg.closest("svg[role=img], [role=img], [aria-hidden=true]")) continue;
    if (!svg.getAttribute("aria-label")) fault("a picture has no words");
  }
  const ids = all("[id]").map((element) => element.id);
  for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) fault(`two elements are ${id}`);
  for (const link of all("a, use")) {
    const to = link.getAttribute("href");
    if (!alone) continue;
    if (!to.startsWith("#")) fault(`it leads to ${to}`);
    else if (!document.getElementById(to.slice(1))) fault(`${to} leads nowhere`);
  }

  // Contrast of text, WCAG 2.2: 4.5, for large text 3.
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const luminance = ([r, g, b]) => {
    const linear = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    return 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  };
  const ground = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const color = rgba(getComputedStyle(e).backgroundColor);
      if (color[3] === 255) return color;
    }
    return matchMedia("(prefers-color-scheme: dark)").matches ? [18, 18, 18, 255] : [255, 255, 255, 255];
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const seen = new Set();
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || element.closest("title, style, script, noscript, .defs") || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const color = rgba(element.closest("svg") ? style.fill : style.color);
    const below = ground(element);
    const [light, dark] = [luminance(color), luminance(below)].sort((a, b) => b - a);
    const ratio = (light + 0.05) / (dark + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const key = `${color} on ${below}`;
    if (ratio < (large ? 3 : 4.5) && !seen.has(key)) {
      seen.add(key);
      fault(`${said(element)} has a contrast of ${ratio.toFixed(2)}: ${key}`);
    }
  }
  return faults;
}
