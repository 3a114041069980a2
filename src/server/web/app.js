// app.js - the page: conversations, the one that is shown, answers that are running.

import { ApiError, request, setKey } from './api.js';
import { keeps } from './area.js';
import { askKey, askSettings, askTitle, confirmed, requestFields } from './dialogs.js';
import { byId, el, sends } from './dom.js';
import { Live } from './live.js';
import { MessageView } from './messages.js';
import * as store from './store.js';
import { streamAnswer } from './stream.js';

const TITLE_MAX = 60;
const SAVE_MS = 2000; // while an answer comes
const SAID_MAX = 8; // pieces kept for screen readers

let settings = store.loadSettings();
let conversations = store.loadConversations();
let current = null; // the one that is shown; in conversations as soon as it has a message
let views = []; // of its messages
let models = [];
const running = new Map(); // conversation's id -> {controller, message, ...}

const scroll = byId('scroll');
const field = byId('prompt');
const live = new Live(() => running.size > 0, () => settings.model || models[0]);

// ---- what is shown ----

const titleOf = (c) => c.title || 'New conversation';

function showList() {
  byId('list').replaceChildren(...conversations.map((c) => el('li', null, el('button', {
    type: 'button',
    'aria-current': c === current && 'true',
    class: running.has(c.id) && 'busy',
    onclick: () => {
      closeDrawers();
      show(c);
    },
  }, titleOf(c)))));
  byId('mark').classList.toggle('turning', running.size > 0);
}

function showBar() {
  const busy = running.has(current.id);
  const last = current.messages.at(-1);
  byId('title').textContent = titleOf(current);
  document.title = current.title ? `${current.title} – Turbine` : 'Turbine';
  for (const id of ['rename', 'export', 'delete']) byId(id).disabled = !current.messages.length;
  byId('welcome').hidden = current.messages.length > 0;
  byId('send').hidden = busy;
  byId('stop').hidden = !busy;
  const called = !busy && last?.role === 'assistant' && !!last.tool_calls?.length && !last.error && !last.stopped;
  byId('send').disabled = called;
  field.placeholder = called ? 'The call above waits for its result' : 'Write a message';
}

function show(conversation) {
  current = conversation;
  views = [];
  byId('transcript').replaceChildren();
  notice('');
  for (const message of current.messages) addView(message, true);
  showActions();
  live.show(current.messages.findLast((m) => m.role === 'assistant') ?? null);
  toLatest();
}

/* old: it was there before, and need not be said. */
function addView(message, old = false) {
  const view = new MessageView(message, old ? undefined : say);
  views.push(view);
  byId('transcript').append(view.root);
  return view;
}

function showActions() {
  const run = running.get(current.id);
  const lastUser = current.messages.findLastIndex((m) => m.role === 'user');
  const last = current.messages.length - 1;
  views.forEach((view, i) => {
    const message = current.messages[i];
    const isLastAnswer = i === last && message.role === 'assistant';
    view.update({
      edit: !run && i === lastUser ? editLast : null,
      regenerate: !run && isLastAnswer && !message.error ? () => regenerate() : null,
      retry: !run && isLastAnswer ? () => regenerate() : null,
      answerTools: !run && isLastAnswer ? (results) => ask(results) : null,
    }, run?.message === message, run?.waiting);
  });
  showBar();
  showList();
}

/* A whole paragraph or block of the answer, for screen readers. */
function say(node) {
  const said = byId('said');
  said.append(el('p', null, node.textContent));
  while (said.children.length > SAID_MAX) said.firstChild.remove();
}

function notice(text) {
  byId('notice').textContent = text;
  byId('notice').hidden = text === '';
}

// ---- scrolling: follows the answer as long as its end is in view ----

let following = true;

function toLatest() {
  following = true;
  scroll.scrollTop = scroll.scrollHeight;
  byId('latest').hidden = true;
}

scroll.addEventListener('scroll', () => {
  following = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 60;
  byId('latest').hidden = following;
}, { passive: true });
byId('latest').addEventListener('click', toLatest);

// ---- asking ----

function toSend(message) {
  const sent = { role: message.role, content: message.content };
  for (const name of ['reasoning_content', 'tool_calls', 'tool_call_id', 'name']) {
    if (message[name]?.length) sent[name] = message[name];
  }
  return sent;
}

/* Undefined: the server's own choice. */
function modelToAsk() {
  return settings.model || models[0];
}

function bodyOf(conversation) {
  const messages = conversation.messages.filter((m) => m.role !== 'assistant' || m.content || m.tool_calls?.length).map(toSend);
  if (conversation.system) messages.unshift({ role: 'system', content: conversation.system });
  return {
    model: modelToAsk(),
    messages,
    stream: true,
    stream_options: { include_usage: true },
    return_progress: true,
    ...requestFields(settings),
  };
}

function titleFrom(text) {
  const line = text.trim().split('\n', 1)[0];
  return line.length > TITLE_MAX ? `${line.slice(0, TITLE_MAX - 1).trimEnd()}…` : line;
}

let leaving = false; // the page is being closed: how that ends requests is no news

function keep(conversation) {
  if (leaving) return;
  conversation.updated = Date.now();
  if (!conversations.includes(conversation)) conversations.unshift(conversation);
  if (!store.saveConversation(conversation)) {
    notice('This browser has no room left for conversations: export and delete some.');
  }
}

/* What a conversation has become while a dialog was open: another tab may have written. */
function newest(conversation) {
  return conversations.find((c) => c.id === conversation.id) ?? conversation;
}

/* Put messages behind the conversation that is shown, and let it be answered. */
function ask(messages) {
  current.messages.push(...messages);
  const first = messages.find((m) => m.role === 'user');
  if (first && !current.title) current.title = titleFrom(first.content);
  messages.forEach((m) => addView(m));
  answer();
}

/* Goes on when another conversation is shown. */
async function answer() {
  const conversation = current;
  const body = bodyOf(conversation);
  const message = { role: 'assistant', content: '' };
  const run = { controller: new AbortController(), message, waiting: 'Waiting …', saved: Date.now(), frame: 0 };
  conversation.messages.push(message);
  running.set(conversation.id, run);
  keep(conversation);
  addView(message);
  live.start(message);
  showActions();
  toLatest();
  try {
    await answerWithKey(body, message, run, () => {
      saveSometimes(conversation, run);
      drawSoon(conversation, run);
    });
  } catch (e) {
    if (e.name === 'AbortError') message.stopped = true;
    else message.error = sentence(e);
  }
  cancelAnimationFrame(run.frame);
  if (running.get(conversation.id) === run) running.delete(conversation.id);
  if (conversations.includes(conversation)) keep(conversation); // it may have been deleted
  if (conversation === current) {
    showActions();
    if (following) toLatest();
  } else {
    showList();
  }
  live.end(message);
}

async function answerWithKey(body, message, run, drawn) {
  const on = {
    progress: (p) => {
      run.waiting = p.total ? `Reading ${Math.floor(p.processed / p.total * 100)} %` : 'Reading …';
      live.read(message, p);
      drawn();
    },
    piece: () => {
      live.piece(message);
      drawn();
    },
  };
  for (;;) {
    try {
      return await streamAnswer(body, message, run.controller.signal, on);
    } catch (e) {
      if (e.status === 404) connect(); // another model is served by now
      if (e.status !== 401 || run.controller.signal.aborted) throw e;
      const key = await askKey(e.message);
      if (key === null) throw e;
      setKey(key);
      await connect();
      body.model = modelToAsk();
    }
  }
}

function sentence(e) {
  if (!(e instanceof ApiError)) return `The page failed: ${e.message}`;
  return e.retryAfter ? `${e.message} (Free again in about ${e.retryAfter} s.)` : e.message;
}

/* Drawn once a frame, however fast pieces come. */
function drawSoon(conversation, run) {
  if (run.frame) return;
  run.frame = requestAnimationFrame(() => {
    run.frame = 0;
    if (conversation === current) {
      const view = views[current.messages.indexOf(run.message)];
      view?.update({}, true, run.waiting);
      if (following) toLatest();
    }
  });
}

/* A hidden page draws nothing, and may end without a word. */
function saveSometimes(conversation, run) {
  if (Date.now() - run.saved <= SAVE_MS) return;
  run.saved = Date.now();
  keep(conversation);
}

/* Forget messages from `from` on. */
function cut(from) {
  current.messages.length = from;
  for (const view of views.splice(from)) view.root.remove();
}

function regenerate() {
  if (current.messages.at(-1)?.role === 'assistant') cut(current.messages.length - 1);
  answer();
}

/* The form may have been open while something else was asked. */
function editLast(text, message) {
  const at = current.messages.findLastIndex((m) => m.role === 'user');
  if (at < 0 || current.messages[at] !== message || running.has(current.id)) return;
  const renamed = current.title === titleFrom(current.messages[at].content);
  cut(at);
  if (renamed) current.title = '';
  ask([{ role: 'user', content: text }]);
}

function send() {
  const text = field.value.trim();
  if (!text || running.has(current.id) || byId('send').disabled) return;
  field.value = '';
  fit();
  notice('');
  ask([{ role: 'user', content: text }]);
}

function stop() {
  running.get(current.id)?.controller.abort();
}

// ---- the field ----

function fit() {
  field.style.height = 'auto';
  field.style.height = `${field.scrollHeight + 2}px`;
}

field.addEventListener('input', fit);
field.addEventListener('keydown', (e) => {
  if (sends(e)) {
    e.preventDefault();
    send();
  } else if (e.key === 'ArrowUp' && field.value === '') {
    const edit = [...byId('transcript').querySelectorAll('.message.user .actions button')].findLast((b) => b.textContent === 'Edit');
    if (edit) {
      e.preventDefault();
      edit.click();
    }
  }
});
byId('composer').addEventListener('submit', (e) => {
  e.preventDefault();
  send();
});
byId('stop').addEventListener('click', () => {
  stop();
  field.focus();
});

// ---- conversations ----

function fresh() {
  closeDrawers();
  show(store.newConversation(settings.system));
  field.focus();
}

function download(list, name) {
  const url = URL.createObjectURL(new Blob([store.exportText(list)], { type: 'application/json' }));
  el('a', { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

async function importFile(file) {
  try {
    const added = store.importText(await file.text(), conversations.map((c) => c.id));
    for (const conversation of added) {
      if (!store.saveConversation(conversation)) throw new Error('This browser has no room left for all of it.');
      conversations.push(conversation);
    }
    conversations.sort((a, b) => b.updated - a.updated);
    if (added.length) show(added[0]);
    notice('');
  } catch (e) {
    showList();
    notice(`Not imported: ${e.message}`);
  }
}

byId('new').addEventListener('click', fresh);
byId('rename').addEventListener('click', async () => {
  const asked = current;
  const title = await askTitle(asked.title);
  if (!title) return;
  const conversation = newest(asked);
  conversation.title = title;
  keep(conversation);
  showActions();
});
byId('delete').addEventListener('click', async () => {
  const conversation = current;
  if (!await confirmed(`Delete “${titleOf(conversation)}”?`, 'Delete')) return;
  running.get(conversation.id)?.controller.abort();
  conversations = conversations.filter((c) => c.id !== conversation.id);
  store.removeConversation(conversation);
  fresh();
});
byId('export').addEventListener('click', () => download([current], 'turbine-conversation.json'));
byId('export-all').addEventListener('click', () => download(conversations, 'turbine-conversations.json'));
byId('import').addEventListener('click', () => byId('import-file').click());
byId('import-file').addEventListener('change', async (e) => {
  if (e.target.files.length) await importFile(e.target.files[0]);
  e.target.value = '';
});
byId('settings-open').addEventListener('click', async () => {
  closeDrawers();
  const asked = current;
  const answered = await askSettings(settings, asked.system, models);
  if (!answered) return;
  const conversation = newest(asked);
  settings = answered.settings;
  conversation.system = answered.system;
  if (!store.saveSettings(settings)) notice('This browser has no room left for the settings.');
  if (conversation.messages.length) keep(conversation);
});

/* What has come of answers is kept when the page is closed, which ends them. */
addEventListener('pagehide', () => {
  leaving = true;
  for (const conversation of conversations) {
    if (running.has(conversation.id)) store.saveConversation(conversation);
  }
});

addEventListener('pageshow', () => { leaving = false; });

/* Another tab has written. */
addEventListener('storage', (e) => {
  const id = store.idOfKey(e.key);
  if (id === null || running.has(id)) return;
  const changed = e.newValue === null ? null : store.loadConversation(e.key);
  conversations = conversations.filter((c) => c.id !== id);
  if (changed) conversations.unshift(changed);
  if (current.id === id && changed) show(changed);
  else showList();
});

// ---- drawers of narrow windows ----

function setDrawer(panel, opener, open) {
  byId(panel).classList.toggle('open', open);
  byId(opener).setAttribute('aria-expanded', String(open));
  byId('shade').hidden = !open;
  document.querySelector('.main').inert = open;
  if (open) byId(panel).querySelector('button, [tabindex]')?.focus();
}

function closeDrawers() {
  for (const [panel, opener] of [['side', 'side-open'], ['live', 'live-open']]) {
    if (!byId(panel).classList.contains('open')) continue;
    setDrawer(panel, opener, false);
    byId(opener).focus();
  }
}

byId('more').addEventListener('click', () => {
  byId('more').setAttribute('aria-expanded', String(byId('bar-actions').classList.toggle('shown')));
});
byId('side-open').addEventListener('click', () => setDrawer('side', 'side-open', true));
byId('live-open').addEventListener('click', () => setDrawer('live', 'live-open', true));
byId('live-close').addEventListener('click', closeDrawers);
byId('shade').addEventListener('click', closeDrawers);

addEventListener('keydown', (e) => {
  if (e.key !== 'Escape' || document.querySelector('dialog[open]')) return;
  if (document.querySelector('.side.open, .live.open')) closeDrawers();
  else stop();
});

// ---- start ----

/* Models of the server; asks for the key if it wants one. */
async function connect() {
  for (;;) {
    try {
      const list = await (await request('/v1/models')).json();
      models = (list.data ?? []).map((m) => m.id).filter((id) => typeof id === 'string' && !id.startsWith('claude-turbine-'));
      break;
    } catch (e) {
      if (e.status !== 401) {
        notice(sentence(e));
        break;
      }
      const key = await askKey(e.message);
      if (key === null) break;
      setKey(key);
    }
  }
  live.poll();
}

fresh();
if (!keeps) notice('This browser keeps nothing for this page: export conversations before you close it.');
connect();
