// messages.js - the transcript: one view a message.

import { button, copyButton, count, el, plural, rate, seconds, sends } from './dom.js';
import { MarkdownView } from './markdown.js';

const NAMES = { user: 'You', assistant: 'Answer', tool: 'Tool result', system: 'System' };

function figures(message) {
  const { usage, timings } = message;
  const out = [];
  if (usage?.completion_tokens) out.push(plural(usage.completion_tokens, 'token'));
  if (timings?.predicted_ms > 0 && timings.predicted_n > 1) {
    out.push(`${rate(timings.predicted_n / timings.predicted_ms * 1000)}/s`);
  }
  if (timings?.prompt_n > 0) {
    out.push(`read ${plural(timings.prompt_n, 'token')} in ${seconds(timings.prompt_ms)}`);
  }
  const cached = timings?.cache_n ?? usage?.prompt_tokens_details?.cached_tokens;
  if (cached > 0) out.push(`${count(cached)} from cache`);
  return out.join(' · ');
}

function note(message) {
  if (message.stopped) return 'Stopped.';
  if (message.finish === 'length') return 'Cut off: the limit of tokens, or of the context, was reached.';
  if (message.role === 'assistant' && !message.finish && !message.error) return 'Broken off: the page was closed.';
  return '';
}

/* The arguments of a call as names and values where they are an object, else as they are. */
function argumentNodes(text) {
  let values = null;
  try {
    values = JSON.parse(text);
  } catch {
    // still coming, or broken: shown as it is
  }
  if (values === null || typeof values !== 'object' || Array.isArray(values)) {
    return el('pre', null, text);
  }
  const names = Object.keys(values);
  if (!names.length) return el('p', { class: 'faint' }, 'no arguments');
  return el('dl', null, names.map((name) => [
    el('dt', null, name),
    el('dd', null, typeof values[name] === 'string' ? values[name] : JSON.stringify(values[name], null, 2)),
  ]).flat());
}

/* The view of one message.  actions: {edit, regenerate, retry, answerTools}, each a
 * function or null where it is not offered. */
export class MessageView {
  constructor(message, settled) {
    this.message = message;
    this.body = el('div', { class: 'body' });
    this.root = el('article', { class: `message ${message.role}` },
      el('h3', { class: 'who' }, NAMES[message.role]), this.body);
    if (message.role === 'assistant') this.buildAnswer(settled);
    else this.buildPlain();
  }

  buildPlain() {
    const { message } = this;
    if (message.role === 'tool' && message.name) this.body.append(el('p', { class: 'faint mono' }, message.name));
    this.text = el('div', { class: 'plain' }, message.content);
    this.foot = el('footer');
    this.body.append(this.text, this.foot);
  }

  buildAnswer(settled) {
    this.thought = el('div', { class: 'thought prose' });
    this.thoughtTitle = el('summary', null, 'Reasoning');
    this.reasoning = el('details', { class: 'reasoning', hidden: true }, this.thoughtTitle, this.thought);
    this.text = el('div', { class: 'prose' });
    this.calls = el('div', { class: 'calls' });
    this.foot = el('footer');
    this.wait = el('p', { class: 'wait', hidden: true });
    this.body.append(this.reasoning, this.text, this.calls, this.wait, this.foot);
    this.markdown = new MarkdownView(this.text, settled);
    this.thoughts = new MarkdownView(this.thought);
  }

  /* running: the answer is coming; waiting: what is said as long as nothing has come. */
  update(actions, running, waiting = '') {
    const { message } = this;
    if (message.role === 'assistant') {
      this.updateReasoning(running);
      this.markdown.update(message.content, !running);
      this.updateCalls(actions, running);
      this.wait.hidden = !running || message.content !== '' || !!message.tool_calls?.length;
      this.wait.textContent = waiting;
      this.root.classList.toggle('running', running);
    }
    if (!running) this.updateFoot(actions);
    this.foot.hidden = running;
  }

  updateReasoning(running) {
    const { message } = this;
    if (!message.reasoning_content) return;
    const thinking = running && message.content === '';
    this.reasoning.hidden = false;
    this.thoughtTitle.textContent = thinking ? 'Reasoning …' : 'Reasoning';
    if (thinking !== this.thinking) { // opened and closed once: later it is the reader's
      this.reasoning.open = thinking;
      this.thinking = thinking;
    }
    this.thoughts.update(message.reasoning_content, !thinking);
  }

  updateCalls(actions, running) {
    const calls = this.message.tool_calls ?? [];
    const state = JSON.stringify([calls, running, !!actions.answerTools]);
    if (state === this.callState) return;
    this.callState = state;
    this.calls.replaceChildren(...calls.map((call) => el('section', { class: 'call' },
      el('h4', null, 'Calls ', el('code', null, call.function.name)), argumentNodes(call.function.arguments))));
    if (calls.length && !running && actions.answerTools) this.calls.append(this.resultForm(calls, actions));
  }

  resultForm(calls, actions) {
    const fields = calls.map((call) => el('textarea', { rows: '2', required: true, 'aria-label': `Result of ${call.function.name}` }));
    return el('form', {
      class: 'results',
      onsubmit: (e) => {
        e.preventDefault();
        actions.answerTools(calls.map((call, i) => ({
          role: 'tool', tool_call_id: call.id, name: call.function.name, content: fields[i].value,
        })));
      },
    }, calls.map((call, i) => el('label', null, `Result of ${call.function.name}`, fields[i])),
    el('button', { class: 'primary' }, calls.length > 1 ? 'Send results' : 'Send result'));
  }

  updateFoot(actions) {
    const { message } = this;
    if (!actions.edit) this.closeEdit?.(); // something else was asked
    const said = note(message);
    this.foot.replaceChildren(
      said && el('p', { class: 'note' }, said),
      message.error ? el('div', { class: 'error', role: 'alert' }, el('p', null, message.error),
        actions.retry ? button('Retry', actions.retry) : '') : '',
      message.role === 'assistant' ? el('span', { class: 'figures' }, figures(message)) : '',
      el('span', { class: 'actions' },
        message.content ? copyButton(() => message.content) : '',
        actions.edit ? button('Edit', () => this.edit((text) => actions.edit(text, message))) : '',
        actions.regenerate ? button('Regenerate', actions.regenerate) : ''));
  }

  /* Replaces the text by a field; save(text) is called if it is sent. */
  edit(save) {
    const field = el('textarea', { rows: String(Math.min(12, this.message.content.split('\n').length + 1)), 'aria-label': 'Edit your message' });
    field.value = this.message.content;
    const close = this.closeEdit = () => {
      form.replaceWith(this.text);
      this.foot.hidden = false;
      this.closeEdit = undefined;
    };
    const send = () => {
      if (field.value.trim() === '') return field.focus();
      close();
      save(field.value);
    };
    const form = el('form', {
      class: 'edit',
      onsubmit: (e) => { e.preventDefault(); send(); },
      onkeydown: (e) => {
        if (e.key === 'Escape') {
          e.stopPropagation();
          close();
        } else if (sends(e)) {
          e.preventDefault();
          send();
        }
      },
    }, field, el('div', { class: 'row' }, el('button', { class: 'primary' }, 'Send again'), button('Cancel', close)));
    this.text.replaceWith(form);
    this.foot.hidden = true;
    field.focus();
    field.setSelectionRange(field.value.length, field.value.length);
  }
}
