// store.js - conversations and settings in this browser.
//
// One entry of localStorage a conversation, so that two tabs do not overwrite each other:
// {id, title, created, updated, model, system, messages: [...]}.  A message is what the
// API knows (role, content, reasoning_content, tool_calls, tool_call_id, name) and what
// came with the answer: model, usage, timings, finish, stopped, error.

import { local } from './area.js';

const CHAT = 'turbine.chat.';
const SETTINGS = 'turbine.settings';
const FORMAT = 'turbine-conversations';
const ROLES = ['system', 'user', 'assistant', 'tool'];
const IMPORT_MESSAGES_MAX = 100000;

export function newConversation(system = '') {
  const now = Date.now();
  return { id: newId(), title: '', created: now, updated: now, model: '', system, messages: [] };
}

/* crypto.randomUUID is missing where the page came over plain HTTP from elsewhere. */
function newId() {
  const random = crypto.getRandomValues(new Uint32Array(4));
  return [...random].map((x) => x.toString(16).padStart(8, '0')).join('');
}

/* All that can be read, newest first. */
export function loadConversations() {
  const all = [];
  for (let i = 0; i < local.length; i++) {
    const key = local.key(i);
    const conversation = key.startsWith(CHAT) && loadConversation(key);
    if (conversation) all.push(conversation);
  }
  return all.sort((a, b) => b.updated - a.updated);
}

/* null for what is not a conversation, or is gone. */
export function loadConversation(key) {
  try {
    return checkConversation(JSON.parse(local.getItem(key)), key);
  } catch {
    return null;
  }
}

export const idOfKey = (key) => (key?.startsWith(CHAT) ? key.slice(CHAT.length) : null);
export const keyOf = (conversation) => CHAT + conversation.id;

/* Both: false if the browser has no room left. */
function save(key, value) {
  try {
    local.setItem(key, JSON.stringify(value));
    return true;
  } catch {
    return false;
  }
}

export const saveConversation = (conversation) => save(keyOf(conversation), conversation);
export const saveSettings = (settings) => save(SETTINGS, settings);

export function removeConversation(conversation) {
  local.removeItem(keyOf(conversation));
}

export function loadSettings() {
  try {
    const settings = JSON.parse(local.getItem(SETTINGS));
    return settings && typeof settings === 'object' && !Array.isArray(settings) ? settings : {};
  } catch {
    return {};
  }
}

export function exportText(conversations) {
  return JSON.stringify({ format: FORMAT, version: 1, conversations }, null, 1) + '\n';
}

/* The conversations of an exported file, under ids of their own where theirs are taken.
 * Throws an Error that says what is wrong, and where. */
export function importText(text, taken) {
  let file;
  try {
    file = JSON.parse(text);
  } catch (e) {
    throw new Error(`The file is not JSON: ${e.message}`);
  }
  if (file?.format !== FORMAT || file.version !== 1 || !Array.isArray(file.conversations)) {
    throw new Error(`The file is not an export of conversations ("format": "${FORMAT}", "version": 1).`);
  }
  const ids = new Set(taken);
  return file.conversations.map((c, i) => {
    const conversation = checkConversation(c, `conversations[${i}]`);
    if (ids.has(conversation.id)) conversation.id = newId();
    ids.add(conversation.id);
    return conversation;
  });
}

const isText = (x) => typeof x === 'string';
const isObject = (x) => x !== null && typeof x === 'object' && !Array.isArray(x);

function need(ok, where, what) {
  if (!ok) throw new Error(`${where} must be ${what}.`);
}

/* A copy with known fields only. */
function checkConversation(c, where) {
  need(isObject(c), where, 'an object');
  need(isText(c.id) && /^[0-9a-zA-Z-]{1,64}$/.test(c.id), `${where}.id`, '1 to 64 letters and digits');
  need(Array.isArray(c.messages) && c.messages.length <= IMPORT_MESSAGES_MAX, `${where}.messages`, 'a list');
  const text = (x) => (isText(x) ? x : '');
  const time = (x) => (Number.isFinite(x) ? x : 0);
  return {
    id: c.id,
    title: text(c.title),
    created: time(c.created),
    updated: time(c.updated),
    model: text(c.model),
    system: text(c.system),
    messages: c.messages.map((m, i) => checkMessage(m, `${where}.messages[${i}]`)),
  };
}

function checkMessage(m, where) {
  need(isObject(m), where, 'an object');
  need(ROLES.includes(m.role), `${where}.role`, `one of ${ROLES.join(', ')}`);
  need(isText(m.content), `${where}.content`, 'a string');
  const copy = { role: m.role, content: m.content };
  for (const name of ['reasoning_content', 'tool_call_id', 'name', 'model', 'finish', 'error']) {
    if (isText(m[name])) copy[name] = m[name];
  }
  for (const name of ['usage', 'timings']) {
    if (isObject(m[name])) copy[name] = m[name];
  }
  if (m.stopped === true) copy.stopped = true;
  if (m.tool_calls !== undefined) {
    need(Array.isArray(m.tool_calls), `${where}.tool_calls`, 'a list');
    copy.tool_calls = m.tool_calls.map((call, i) => checkCall(call, `${where}.tool_calls[${i}]`));
  }
  return copy;
}

function checkCall(call, where) {
  need(isObject(call) && isText(call.id) && isObject(call.function), where, 'a call with id and function');
  need(isText(call.function.name), `${where}.function.name`, 'a string');
  need(isText(call.function.arguments), `${where}.function.arguments`, 'a string');
  return {
    id: call.id,
    type: 'function',
    function: { name: call.function.name, arguments: call.function.arguments },
  };
}
