// dialogs.js - questions to the reader: key, title, confirmation, settings.

import { byId, el } from './dom.js';

const NUMBERS = ['temperature', 'top_p', 'top_k', 'min_p', 'repeat_penalty', 'max_tokens', 'seed'];

for (const cancel of document.querySelectorAll('dialog [data-cancel]')) {
  cancel.addEventListener('click', () => cancel.closest('dialog').close(''));
}

/* Whether it was confirmed. */
function open(dialog) {
  return new Promise((resolve) => {
    dialog.returnValue = '';
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'ok'), { once: true });
    dialog.showModal();
  });
}

/* The key, or null.  Questions that come while one is open get its answer. */
let asked = null;
export function askKey(message) {
  asked ??= (async () => {
    byId('key').value = '';
    byId('key-message').textContent = message;
    const ok = await open(byId('key-dialog'));
    const key = byId('key').value.trim();
    byId('key').value = '';
    return ok && key ? key : null;
  })().finally(() => { asked = null; });
  return asked;
}

export function confirmed(question, verb) {
  byId('ask-title').textContent = question;
  byId('ask-label').hidden = true;
  byId('ask-ok').textContent = verb;
  return open(byId('ask-dialog'));
}

/* The title, or null. */
export async function askTitle(title) {
  byId('ask-title').textContent = 'Rename the conversation';
  byId('ask-label').hidden = false;
  byId('ask-text').value = title;
  byId('ask-ok').textContent = 'Rename';
  return await open(byId('ask-dialog')) ? byId('ask-text').value.trim() : null;
}

/* "" if the text may be sent as tools, else what is wrong. */
function toolsProblem(text) {
  if (text.trim() === '') return '';
  try {
    const tools = JSON.parse(text);
    if (!Array.isArray(tools)) return 'This must be a JSON list.';
    const bad = tools.findIndex((t) => typeof t?.function?.name !== 'string');
    return bad < 0 ? '' : `Entry ${bad} has no function.name.`;
  } catch (e) {
    return `This is not JSON: ${e.message}`;
  }
}

byId('set-tools').addEventListener('input', (e) => e.target.setCustomValidity(toolsProblem(e.target.value)));

/* {settings, system}, or null.  settings: {model, think, tools (text), system (of new
 * conversations) and NUMBERS, each absent if it is empty}. */
export async function askSettings(settings, system, models) {
  const model = byId('set-model');
  const names = new Set(models);
  if (settings.model) names.add(settings.model);
  model.replaceChildren(el('option', { value: '' }, models.length ? `first one: ${models[0]}` : 'first one'),
    ...[...names].map((name) => el('option', { value: name }, name)));
  model.value = settings.model ?? '';
  byId('set-think').value = settings.think ?? '';
  byId('set-system').value = system;
  byId('set-system-default').checked = !!system && settings.system === system;
  const wasDefault = byId('set-system-default').checked;
  byId('set-tools').value = settings.tools ?? '';
  byId('set-tools').setCustomValidity('');
  for (const name of NUMBERS) byId(`set-${name}`).value = settings[name] ?? '';
  if (!await open(byId('settings-dialog'))) return null;

  const out = {};
  for (const name of ['model', 'think', 'tools']) {
    const value = byId(`set-${name}`).value;
    if (value.trim()) out[name] = value;
  }
  for (const name of NUMBERS) {
    const value = byId(`set-${name}`).value;
    if (value !== '') out[name] = Number(value);
  }
  const written = byId('set-system').value.trim();
  if (byId('set-system-default').checked) out.system = written;
  else if (!wasDefault && settings.system) out.system = settings.system;
  return { settings: out, system: written };
}

/* What settings say of a request. */
export function requestFields(settings) {
  const fields = {};
  for (const name of NUMBERS) {
    if (Number.isFinite(settings[name])) fields[name] = settings[name];
  }
  if (settings.think === 'on' || settings.think === 'off') {
    fields.chat_template_kwargs = { enable_thinking: settings.think === 'on' };
  }
  if (settings.tools && !toolsProblem(settings.tools)) fields.tools = JSON.parse(settings.tools);
  return fields;
}
