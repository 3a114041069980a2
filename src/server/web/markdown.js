// markdown.js - Markdown as DOM nodes.
//
// The text is a model's and may be hostile: it becomes text nodes and a fixed set of
// elements, never HTML; links go to http, https and mailto only; pictures are links.
// Work is linear in the text, and nesting is bounded, whatever the text is.

import { copyButton, el } from './dom.js';
import { highlight } from './highlight.js';

const DEPTH_MAX = 12; // of lists and quotes, and of emphasis
const URL_MAX = 2048;

// ---- blocks ----

const FENCE = /^( {0,3})(`{3,}|~{3,})(.*)$/;
const HEADING = /^ {0,3}(#{1,6})(?=[ \t]|$)/;
const RULE = /^ {0,3}([-*_])(?:[ \t]*\1){2,}[ \t]*$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( *)([-*+]|\d{1,9}[.)])(?:( {1,4})|$)/;
const isBlank = (line) => line.trim() === '';
const indentOf = (line) => line.length - line.trimStart().length;

function fenceOf(line) {
  const m = FENCE.exec(line);
  return m && !(m[2][0] === '`' && m[3].includes('`')) ? m : null;
}

function itemOf(line) {
  return RULE.test(line) ? null : ITEM.exec(line);
}

/* The cells of a table's row; "\|" is no border. */
function cellsOf(line) {
  let row = line.trim();
  if (row.startsWith('|')) row = row.slice(1);
  const cells = [];
  let cell = '';
  for (let i = 0; i < row.length; i++) {
    if (row[i] === '\\' && row[i + 1] === '|') {
      cell += '|';
      i++;
    } else if (row[i] === '|') {
      cells.push(cell.trim());
      cell = '';
    } else {
      cell += row[i];
    }
  }
  if (cell.trim() !== '') cells.push(cell.trim());
  return cells;
}

/* Alignments of a table whose head is lines[at], or null. */
function tableAt(lines, at) {
  const rule = lines[at + 1];
  if (!lines[at].includes('|') || rule === undefined || !/^[ \t|:-]+$/.test(rule)) return null;
  const marks = cellsOf(rule);
  if (!marks.length || !marks.every((m) => /^:?-+:?$/.test(m))) return null;
  if (cellsOf(lines[at]).length !== marks.length) return null;
  return marks.map((m) => (m.endsWith(':') ? (m.startsWith(':') ? 'center' : 'right') : 'left'));
}

/* Whether a paragraph ends before lines[at]. */
function startsBlock(lines, at) {
  const line = lines[at];
  const item = itemOf(line);
  return HEADING.test(line) || RULE.test(line) || QUOTE.test(line) || fenceOf(line) !== null ||
    (item !== null && /^([-*+]|1[.)])$/.test(item[2]) && item[3] !== undefined) ||
    tableAt(lines, at) !== null;
}

function takeFence(lines, at) {
  const [, indent, fence, info] = fenceOf(lines[at]);
  const code = [];
  let end = at + 1;
  let closed = false;
  for (; end < lines.length && !closed; end++) {
    const bare = lines[end].trim();
    closed = bare.length >= fence.length && bare === fence[0].repeat(bare.length) &&
      indentOf(lines[end]) <= 3 + indent.length;
    if (!closed) code.push(lines[end].slice(Math.min(indent.length, indentOf(lines[end]))));
  }
  const language = info.trim().split(/\s/, 1)[0].toLowerCase();
  return { kind: 'code', end, code: code.join('\n'), language };
}

function takeQuote(lines, at) {
  const inner = [];
  let end = at;
  while (end < lines.length && QUOTE.test(lines[end])) inner.push(lines[end++].replace(QUOTE, ''));
  return { kind: 'quote', end, lines: inner };
}

/* Lines belong to an item if they are indented at all as its text is, or by two: models
 * are not strict about it. */
function takeList(lines, at) {
  const first = itemOf(lines[at]);
  const ordered = /\d/.test(first[2]);
  const base = first[1].length;
  const items = [];
  let offset = 0;
  let loose = false;
  let end = at;
  while (end < lines.length) {
    let next = end;
    while (next < lines.length && isBlank(lines[next])) next++;
    if (next === lines.length) break;
    const line = lines[next];
    const item = itemOf(line);
    const indent = indentOf(line);
    const within = items.length > 0 && indent >= Math.min(offset, base + 2);
    if (item && !within && indent < base + 2 && /\d/.test(item[2]) === ordered) {
      loose ||= next > end;
      offset = item[0].length;
      items.push([line.slice(offset)]);
    } else if (within || (items.length && next === end && !startsBlock(lines, next))) {
      loose ||= next > end;
      for (let i = end; i < next; i++) items.at(-1).push('');
      items.at(-1).push(line.slice(Math.min(indent, offset)));
    } else {
      break;
    }
    end = next + 1;
  }
  return { kind: 'list', end, ordered, number: parseInt(first[2], 10), items, loose };
}

function takeTable(lines, at, align) {
  const rows = [];
  let end = at + 2;
  while (end < lines.length && !isBlank(lines[end]) && lines[end].includes('|')) {
    rows.push(cellsOf(lines[end++]));
  }
  return { kind: 'table', end, align, head: cellsOf(lines[at]), rows };
}

function takeParagraph(lines, at) {
  let end = at + 1;
  while (end < lines.length && !isBlank(lines[end])) {
    if (/^ {0,3}(=+|-+)[ \t]*$/.test(lines[end])) {
      const text = lines.slice(at, end).join('\n').trim();
      return { kind: 'heading', end: end + 1, level: lines[end].includes('=') ? 1 : 2, text };
    }
    if (startsBlock(lines, end)) break;
    end++;
  }
  return { kind: 'paragraph', end, text: lines.slice(at, end).join('\n').trim() };
}

function takeHeading(lines, at, level) {
  let text = lines[at].trim().slice(level).trim();
  let end = text.length;
  while (end > 0 && text[end - 1] === '#') end--;
  if (end === 0 || text[end - 1] === ' ') text = text.slice(0, end).trim();
  return { kind: 'heading', end: at + 1, level, text };
}

function takeBlock(lines, at) {
  const line = lines[at];
  const heading = HEADING.exec(line);
  if (fenceOf(line)) return takeFence(lines, at);
  if (heading) return takeHeading(lines, at, heading[1].length);
  if (RULE.test(line)) return { kind: 'rule', end: at + 1 };
  if (QUOTE.test(line)) return takeQuote(lines, at);
  if (itemOf(line)) return takeList(lines, at);
  const align = tableAt(lines, at);
  return align ? takeTable(lines, at, align) : takeParagraph(lines, at);
}

/* [{kind, start, end (lines), ...}] */
function blocksOf(lines) {
  const blocks = [];
  for (let at = 0; at < lines.length;) {
    if (isBlank(lines[at])) {
      at++;
      continue;
    }
    const block = takeBlock(lines, at);
    block.start = at;
    at = block.end;
    blocks.push(block);
  }
  return blocks;
}

function codeNode(code, language) {
  const body = el('code');
  for (const [kind, text] of highlight(code, language)) {
    body.append(kind ? el('span', { class: `hl-${kind}` }, text) : text);
  }
  return el('figure', { class: 'code' },
    el('figcaption', null, el('span', null, language || 'text'), copyButton(() => code, 'Copy', { 'aria-label': 'Copy code' })),
    el('pre', { tabindex: '0', 'aria-label': `Code, ${language || 'text'}` }, body));
}

function itemNode(lines, block, depth) {
  const task = /^\[([ xX])\] /.exec(lines[0]);
  if (task) lines = [lines[0].slice(4), ...lines.slice(1)];
  const node = el('li', task && { class: 'task' });
  if (task) node.append(el('input', { type: 'checkbox', disabled: true, checked: task[1] !== ' ' }), ' ');
  for (const inner of blocksOf(lines)) {
    const tight = inner.kind === 'paragraph' && !block.loose;
    if (tight) for (const part of inline(inner.text)) node.append(part);
    else node.append(blockNode(inner, depth + 1));
  }
  return node;
}

function tableNode(block) {
  const row = (cells, tag) => el('tr', null, cells.slice(0, block.align.length).map((text, i) =>
    el(tag, { class: `to-${block.align[i]}`, scope: tag === 'th' && 'col' }, inline(text))));
  return el('div', { class: 'table', tabindex: '0', role: 'region', 'aria-label': 'Table' },
    el('table', null, el('thead', null, row(block.head, 'th')),
      el('tbody', null, block.rows.map((cells) => row(cells, 'td')))));
}

function blockNode(block, depth) {
  if (depth > DEPTH_MAX) {
    const text = block.text ?? block.code ?? (block.lines ?? block.items?.flat() ?? []).join('\n');
    return el('p', null, text);
  }
  switch (block.kind) {
    case 'code': return codeNode(block.code, block.language);
    // The page has a first and a second heading of its own.
    case 'heading': return el(`h${Math.min(block.level + 2, 6)}`, { class: `level-${block.level}` }, inline(block.text));
    case 'rule': return el('hr');
    case 'quote': return el('blockquote', null, blocksOf(block.lines).map((b) => blockNode(b, depth + 1)));
    case 'list': return el(block.ordered ? 'ol' : 'ul', block.ordered && block.number !== 1 && { start: String(block.number) },
      block.items.map((lines) => itemNode(lines, block, depth)));
    case 'table': return tableNode(block);
    default: return el('p', null, inline(block.text));
  }
}

// ---- within a line ----

const PUNCTUATION = /[\p{P}\p{S}]/u;
const ENTITIES = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: '\u00a0' };

/* The address if a link may go there, else null. */
export function safeUrl(text) {
  if (text.length > URL_MAX || !/^(https?:\/\/|mailto:)/i.test(text)) return null;
  try {
    const url = new URL(text);
    return ['http:', 'https:', 'mailto:'].includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

function linkNode(url, children) {
  return el('a', { href: url, target: '_blank', rel: 'noopener noreferrer' }, children);
}

/* `(address "title")` at text[at]: {url, end}, or null. */
function targetAt(text, at) {
  const m = /^\(\s{0,9}(?:<([^<>\n]{0,2048})>|((?:[^\s()\\]|\\.|\([^\s()]{0,512}\)){0,2048}))(?:\s{1,9}(?:"[^"]{0,512}"|'[^']{0,512}'))?\s{0,9}\)/
    .exec(text.slice(at, at + 4096));
  return m && { url: safeUrl(m[1] ?? m[2]), end: at + m[0].length };
}

/* Items of a line: strings, nodes ({node, depth}) and runs of emphasis marks ({mark, n,
 * opens, closes}).  Runs become elements, or the text that they are. */
function emphasize(items) {
  const out = [];
  const openers = { '*': [], _: [], '~': [] }; // places in out
  const all = Object.values(openers);
  for (const item of items) {
    if (!item.mark) {
      out.push(item);
      continue;
    }
    const open = openers[item.mark];
    let n = item.n;
    while (item.closes && n > 0 && open.length) {
      const at = open.at(-1);
      const opener = out[at];
      const used = n >= 2 && opener.n >= 2 ? 2 : 1;
      const inner = out.slice(at + 1);
      const depth = 1 + Math.max(0, ...depthsOf(inner));
      if (depth > DEPTH_MAX) {
        all.forEach((places) => { places.length = 0; });
        break;
      }
      out.length = at + 1;
      all.forEach((places) => { while (places.length && places.at(-1) > at) places.pop(); });
      const tag = item.mark === '~' ? 'del' : used === 2 ? 'strong' : 'em';
      const node = el(tag, null, inner.map(plain));
      n -= used;
      opener.n -= used;
      if (opener.n === 0) {
        open.pop();
        out.pop();
      }
      out.push({ node, depth });
    }
    if (n > 0 && item.opens) open.push(out.length);
    if (n > 0) out.push({ mark: item.mark, n });
  }
  return out;
}

/* The depths that occur, each once: there may be too many items to be arguments. */
function depthsOf(items) {
  return new Set(items.map((item) => item.depth ?? 0));
}

function plain(item) {
  return item.node ?? (item.mark ? item.mark.repeat(item.n) : item);
}

class Inline {
  constructor(text) {
    this.text = text;
    this.at = 0;
    this.items = [];
    this.plainFrom = 0; // text from here on is not yet an item
    this.brackets = []; // {item, from}: open ones
    this.noSpan = new Set(); // lengths of backtick runs that nothing closes from here on
  }

  /* Text up to here becomes an item, then item does, and reading goes on at end. */
  put(item, end) {
    this.flush();
    if (item !== null) this.items.push(item);
    this.at = this.plainFrom = end;
  }

  flush() {
    if (this.plainFrom < this.at) this.items.push(this.text.slice(this.plainFrom, this.at));
  }

  run(c) {
    let end = this.at;
    while (this.text[end] === c) end++;
    return end - this.at;
  }

  codeSpan() {
    const n = this.run('`');
    const from = this.at + n;
    for (let at = from; !this.noSpan.has(n);) {
      at = this.text.indexOf('`', at);
      if (at < 0) {
        this.noSpan.add(n);
        break;
      }
      let end = at;
      while (this.text[end] === '`') end++;
      if (end - at === n) {
        let code = this.text.slice(from, at).replaceAll('\n', ' ');
        if (/^ .*[^ ].* $/.test(code)) code = code.slice(1, -1);
        this.put({ node: el('code', null, code), depth: 0 }, end);
        return;
      }
      at = end;
    }
    this.at = from;
  }

  marks(c) {
    const n = this.run(c);
    const before = this.text[this.at - 1] ?? ' ';
    const after = this.text[this.at + n] ?? ' ';
    const isSpace = (x) => /\s/.test(x);
    const isMark = (x) => PUNCTUATION.test(x);
    const left = !isSpace(after) && (!isMark(after) || isSpace(before) || isMark(before));
    const right = !isSpace(before) && (!isMark(before) || isSpace(after) || isMark(after));
    const opens = c === '_' ? left && (!right || isMark(before)) : left;
    const closes = c === '_' ? right && (!left || isMark(after)) : right;
    if ((c === '~' && n !== 2) || (!opens && !closes)) this.at += n;
    else this.put({ mark: c, n, opens, closes }, this.at + n);
  }

  openBracket(n) {
    this.put(null, this.at);
    this.brackets.push({ item: this.items.length, from: this.at });
    this.at += n;
  }

  /* `](address)` closes a link; links do not nest. */
  closeBracket() {
    const open = this.brackets.pop();
    const target = open && this.text[this.at + 1] === '(' ? targetAt(this.text, this.at + 1) : null;
    if (!target?.url) {
      this.at++;
      return;
    }
    this.flush();
    const inner = this.items.splice(open.item);
    inner[0] = inner[0].slice(this.text[open.from] === '!' ? 2 : 1);
    const shown = emphasize(inner.filter((x) => x !== '')).map(plain);
    this.plainFrom = this.at; // all of it is in inner
    this.put({ node: linkNode(target.url, shown.length ? shown : [target.url]), depth: 1 }, target.end);
    this.brackets.length = 0;
  }

  angle() {
    const m = /^<(?:(br) ?\/?|((?:https?:\/\/|mailto:)[^\s<>]{1,2048}))>/i.exec(this.text.slice(this.at, this.at + URL_MAX + 16));
    const url = m?.[2] && safeUrl(m[2]);
    if (m?.[1]) this.put({ node: el('br'), depth: 0 }, this.at + m[0].length);
    else if (url) this.put({ node: linkNode(url, [m[2]]), depth: 0 }, this.at + m[0].length);
    else this.at++;
  }

  /* An address in plain text, without the punctuation of the sentence around it. */
  bareUrl() {
    const m = /^https?:\/\/[^\s<>"`|\\]{1,2048}/i.exec(this.text.slice(this.at, this.at + URL_MAX));
    const inWord = /\w/.test(this.text[this.at - 1] ?? ' ');
    let text = m && !inWord ? m[0] : '';
    const trailing = text.includes('(') ? ".,;:!?'*_~]" : ".,;:!?'*_~])";
    let cut = text.length;
    while (cut && trailing.includes(text[cut - 1])) cut--;
    text = text.slice(0, cut);
    const url = safeUrl(text);
    if (url && !this.brackets.length) this.put({ node: linkNode(url, [text]), depth: 0 }, this.at + cut);
    else this.at += Math.max(cut, 1);
  }

  entity() {
    const m = /^&(amp|lt|gt|quot|apos|nbsp);/.exec(this.text.slice(this.at, this.at + 6));
    if (m) this.put(ENTITIES[m[1]], this.at + m[0].length);
    else this.at++;
  }

  escape() {
    const next = this.text[this.at + 1];
    if (next === '\n') this.put({ node: el('br'), depth: 0 }, this.at + 2);
    else if (next && PUNCTUATION.test(next)) this.put(next, this.at + 2);
    else this.at++;
  }

  lineEnd() {
    let end = this.at;
    while (end > this.plainFrom && this.text[end - 1] === ' ') end--;
    const next = this.at + 1;
    this.at = end;
    this.put({ node: el('br'), depth: 0 }, next);
  }

  step() {
    const c = this.text[this.at];
    switch (c) {
      case '`': return this.codeSpan();
      case '*': case '_': case '~': return this.marks(c);
      case '!': return this.text[this.at + 1] === '[' ? this.openBracket(2) : void this.at++;
      case '[': return this.openBracket(1);
      case ']': return this.closeBracket();
      case '<': return this.angle();
      case '&': return this.entity();
      case '\\': return this.escape();
      case '\n': return this.lineEnd();
      case 'h': case 'H': return this.bareUrl();
      default: this.at++;
    }
  }

  nodes() {
    while (this.at < this.text.length) this.step();
    this.flush();
    return emphasize(this.items).map(plain);
  }
}

/* Nodes and strings of a text without blocks. */
function inline(text) {
  return new Inline(text).nodes();
}

// ---- tabs ----

const wide = (s) => s.replaceAll('\t', '    ');

/* Tabs are four columns of layout, but in code they stay, behind what the fence itself is
 * indented by. */
function linesOf(text) {
  let fence = null; // [all, indent, marks] of the one that is open
  return text.replaceAll('\r\n', '\n').split('\n').map((line) => {
    if (fence === null) {
      const spaced = wide(line);
      fence = /^( *(?:(?:[-*+>]|\d+[.)]) +)*)(`{3,}|~{3,})/.exec(spaced);
      if (fence !== null && fence[2][0] === '`' && spaced.slice(fence[0].length).includes('`')) fence = null;
      return spaced;
    }
    const bare = line.trim();
    if (bare.length >= fence[2].length && bare === fence[2][0].repeat(bare.length)) {
      fence = null;
      return wide(line);
    }
    let n = 0;
    for (let column = 0; column < fence[1].length && /[ \t]/.test(line[n] ?? ''); n++) column += line[n] === '\t' ? 4 : 1;
    return wide(line.slice(0, n)) + line.slice(n);
  });
}

// ---- a growing text ----

/* Renders a text that grows into `root`: only blocks that changed are made again.
 * settled(node) is told of each block that is complete, once. */
export class MarkdownView {
  constructor(root, settled = () => {}) {
    this.root = root;
    this.settled = settled;
    this.shown = []; // {source, node}
    this.told = 0;
  }

  update(text, complete) {
    const lines = linesOf(text);
    const blocks = blocksOf(lines);
    blocks.forEach((block, i) => {
      const source = lines.slice(block.start, block.end).join('\n');
      if (this.shown[i]?.source === source) return;
      const node = blockNode(block, 0);
      if (this.shown[i]) this.shown[i].node.replaceWith(node);
      else this.root.append(node);
      this.shown[i] = { source, node };
    });
    for (const { node } of this.shown.splice(blocks.length)) node.remove();
    const stable = complete ? blocks.length : blocks.length - 1;
    for (; this.told < stable; this.told++) this.settled(this.shown[this.told].node);
  }
}
