// highlight.js - colours for code: comments, strings, numbers and keywords, by family of
// languages.  A reader's aid, not a parser.

const CODE_MAX = 60000; // characters; more stays plain

const words = (text) => new Set(text.split(' '));

const C_WORDS = words('abstract as asm async auto await bool boolean break case catch char class const constexpr ' +
  'continue crate default defer delete do double dyn else enum export extends extern false final finally float fn ' +
  'for foreach func function go goto if impl implements import in inline instanceof int interface internal is let ' +
  'long loop map match mod module move mut namespace new nil null nullptr of operator override package private ' +
  'protected pub public range readonly ref register return self short signed sizeof static struct super switch ' +
  'template this throw throws trait true try type typedef typename typeof undefined union unsafe unsigned use using ' +
  'val var virtual void volatile when where while with yield');
const PYTHON_WORDS = words('False None True and as assert async await break case class continue def del elif else ' +
  'except finally for from global if import in is lambda match nonlocal not or pass raise return self try while ' +
  'with yield begin end do then unless until module require nil true false local function');
const SHELL_WORDS = words('case do done elif else esac exit export fi for function if in local return set then ' +
  'until while echo cd source make sudo');
const SQL_WORDS = words('all alter and as asc between by case constraint create cross default delete desc distinct ' +
  'drop else end exists foreign from full group having in index inner insert into is join key left like limit not ' +
  'null offset on or order outer primary references right select set table then union unique update using values ' +
  'view when where with');
const DATA_WORDS = words('true false null yes no on off');

const SLASH = String.raw`\/\/[^\n]*|\/\*[^]*?(?:\*\/|$)`;
const HASH = String.raw`#[^\n]*`;
const QUOTED = String.raw`"(?:[^"\\\n]|\\[^])*"?|'(?:[^'\\\n]|\\[^])*'?`;

/* comment, string as sources of expressions; fold: words match in any case */
const FAMILIES = {
  c: { comment: SLASH, string: `${QUOTED}|\`(?:[^\`\\\\]|\\\\[^])*\`?`, words: C_WORDS },
  python: { comment: HASH, string: `"""[^]*?(?:"""|$)|'''[^]*?(?:'''|$)|${QUOTED}`, words: PYTHON_WORDS },
  shell: { comment: String.raw`(?<![^\s])#[^\n]*`, string: QUOTED, words: SHELL_WORDS },
  sql: { comment: String.raw`--[^\n]*|\/\*[^]*?(?:\*\/|$)`, string: QUOTED, words: SQL_WORDS, fold: true },
  data: { comment: String.raw`(?<![^\s])#[^\n]*`, string: QUOTED, words: DATA_WORDS },
  css: { comment: String.raw`\/\*[^]*?(?:\*\/|$)`, string: QUOTED, words: words('important') },
  markup: { comment: String.raw`<!--[^]*?(?:-->|$)`, string: QUOTED, words: words('') },
};

const LANGUAGES = {
  c: 'c cpp c++ cc h hpp cs csharp java js javascript jsx ts typescript tsx go rust rs kotlin kt swift php scala dart zig mjs',
  python: 'python py ruby rb lua r julia jl elixir perl',
  shell: 'sh bash shell zsh fish console makefile make dockerfile',
  sql: 'sql sqlite postgresql mysql',
  data: 'json jsonc yaml yml toml ini',
  css: 'css scss less',
  markup: 'html xml svg vue',
};

const familyOf = new Map(Object.entries(LANGUAGES).flatMap(([family, names]) =>
  names.split(' ').map((name) => [name, FAMILIES[family]])));

const expressions = new Map();

function expressionOf(family) {
  if (!expressions.has(family)) {
    expressions.set(family, new RegExp(`(?<comment>${family.comment})|(?<string>${family.string})|` +
      String.raw`(?<number>\b(?:0[xXbBoO][\da-fA-F_]+|\d[\d_]*(?:\.\d+)?(?:[eE][+-]?\d+)?)\b)|(?<word>[A-Za-z_]\w*)`, 'g'));
  }
  return expressions.get(family);
}

function diffLines(code) {
  return code.split(/(?<=\n)/).map((line) =>
    [line.startsWith('+') ? 'string' : line.startsWith('-') ? 'keyword' : line.startsWith('@@') ? 'comment' : '', line]);
}

/* [[kind or "", text], ...], which together are the code. */
export function highlight(code, language) {
  if (code.length > CODE_MAX) return [['', code]];
  if (language === 'diff' || language === 'patch') return diffLines(code);
  const family = familyOf.get(language);
  if (!family) return [['', code]];
  const out = [];
  let from = 0;
  for (const m of code.matchAll(expressionOf(family))) {
    let kind = m.groups.comment ? 'comment' : m.groups.string ? 'string' : m.groups.number ? 'number' : '';
    if (m.groups.word && family.words.has(family.fold ? m[0].toLowerCase() : m[0])) kind = 'keyword';
    if (!kind) continue;
    if (from < m.index) out.push(['', code.slice(from, m.index)]);
    out.push([kind, m[0]]);
    from = m.index + m[0].length;
  }
  if (from < code.length) out.push(['', code.slice(from)]);
  return out;
}
