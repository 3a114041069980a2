// dom.js - nodes without strings of HTML.

/* An element with attributes, listeners (functions named on...) and children: nodes,
 * strings, which become text, and lists of both.  null and false leave a child or an
 * attribute out. */
export function el(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === false || value === undefined) continue;
    if (typeof value === 'function') node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? '' : value);
  }
  for (const child of children.flat()) {
    if (child !== null && child !== false && child !== undefined) node.append(child);
  }
  return node;
}

const SVG = 'http://www.w3.org/2000/svg';

export function svg(tag, attributes) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

export const byId = (id) => document.getElementById(id);

export function button(label, onclick, attributes) {
  return el('button', { type: 'button', class: 'quiet', onclick, ...attributes }, label);
}

/* Whether a key in a field of text sends it (229: of an input method, where Safari has
 * ended the composition already).  On a keyboard of glass Enter is the only way
 * to a new line. */
export function sends(e) {
  return e.key === 'Enter' && !e.shiftKey && !e.isComposing && e.keyCode !== 229 && !matchMedia('(pointer: coarse)').matches;
}

/* A button that copies what text() gives, and says for a moment whether it could. */
export function copyButton(text, label = 'Copy', attributes = {}) {
  const node = button(label, async () => {
    let said = 'Copied';
    try {
      await navigator.clipboard.writeText(text());
    } catch {
      said = copyBySelection(text()) ? 'Copied' : 'Could not copy';
    }
    node.textContent = said;
    setTimeout(() => { node.textContent = label; }, 1500);
  }, attributes);
  return node;
}

/* navigator.clipboard is missing where the page came over plain HTTP from elsewhere. */
function copyBySelection(text) {
  const area = el('textarea', { class: 'sr-only', 'aria-hidden': 'true' });
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand('copy');
  area.remove();
  return done;
}

const grouped = new Intl.NumberFormat('en', { useGrouping: true });

export function count(n) {
  return grouped.format(n).replaceAll(',', '\u202f');
}

export function plural(n, noun) {
  return `${count(n)} ${noun}${n === 1 ? '' : 's'}`;
}

/* 12345678 -> "11.8 MiB" */
export function bytes(n) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  while (n >= 1024 && unit < units.length - 1) {
    n /= 1024;
    unit++;
  }
  return `${unit && n < 100 ? n.toFixed(1) : Math.round(n)} ${units[unit]}`;
}

/* Three digits: 4.27, 38.2, 412 */
export function rate(x) {
  return x < 10 ? x.toFixed(2) : x < 100 ? x.toFixed(1) : count(Math.round(x));
}

export function seconds(ms) {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${rate(ms / 1000)} s`;
}
