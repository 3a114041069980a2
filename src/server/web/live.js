// live.js - what the machine does: context, cache, speed, requests.

import { request } from './api.js';
import { byId, bytes, count, el, plural, rate, svg } from './dom.js';

const BLADES = 48;
const SAMPLES = 120; // of the speed line, at most
const SAMPLES_WIDE = 16; // as many fill its width
const SAMPLE_MS = 250;
const POLL_RUNNING_MS = 1000;
const POLL_IDLE_MS = 5000;
const POLL_AFTER_MS = 3000; // the server is asked often for this long behind an answer

/* A gauge of BLADES strokes: parts [{share, kind}] are lit from the left. */
class Blades {
  constructor(root) {
    this.strokes = Array.from({ length: BLADES }, () => el('i'));
    root.append(...this.strokes);
  }

  show(parts) {
    let from = 0;
    const kinds = parts.map(({ share, kind }) => {
      const to = from + Math.max(0, share) * BLADES;
      // What is there at all lights a stroke.
      const range = { kind, from: Math.round(from), to: share > 0 ? Math.max(Math.round(to), Math.round(from) + 1) : Math.round(from) };
      from = Math.max(to, range.to);
      return range;
    });
    this.strokes.forEach((stroke, i) => {
      stroke.className = kinds.find((k) => i >= k.from && i < k.to)?.kind ?? '';
    });
  }
}

/* Value of a line `name value` or `name{labels} value` of /metrics, summed over labels. */
function metric(text, name) {
  let sum = null;
  for (const line of text.split('\n')) {
    if (!line.startsWith(name) || !' {'.includes(line[name.length])) continue;
    const value = Number(line.slice(line.lastIndexOf(' ') + 1));
    if (Number.isFinite(value)) sum = (sum ?? 0) + value;
  }
  return sum;
}

function typesOf(kv) {
  return kv.type_k === kv.type_v ? kv.type_k : `${kv.type_k} / ${kv.type_v}`;
}

export class Live {
  /* running() says whether this page waits for an answer, wanted() the name of the model
   * that is asked, undefined for any. */
  constructor(running, wanted) {
    this.running = running;
    this.wanted = wanted;
    this.runs = new WeakMap(); // message -> {pieces: times in ms, progress of the prompt}
    this.context = new Blades(byId('context-blades'));
    this.cache = new Blades(byId('cache-blades'));
    this.model = null; // entry of /api/ps
    this.slots = [];
    this.speeds = [];
    this.often = 0; // ms, until when
    this.line = svg('polyline', { class: 'line', points: '' });
    byId('speed-line').append(this.line);
    document.addEventListener('visibilitychange', () => { if (!document.hidden) this.poll(); });
    setInterval(() => this.sample(), SAMPLE_MS);
  }

  // ---- from the server ----

  async poll() {
    clearTimeout(this.timer);
    if (!document.hidden && !this.polling) {
      this.polling = true;
      const [models, slots, metrics] = await Promise.all([
        this.get('/api/ps', 'json'), this.get('/slots', 'json'), this.get('/metrics', 'text')]);
      this.polling = false;
      const loaded = models?.models ?? [];
      this.model = loaded.find((m) => m.name === this.wanted()) ?? loaded[0] ?? null;
      this.slots = (Array.isArray(slots) ? slots : []).filter((s) => !s.model || !this.model || s.model === this.model.name);
      this.showModel();
      this.showCache();
      this.showRequests(metrics ?? '');
      this.showContext();
    }
    clearTimeout(this.timer);
    if (this.running()) this.often = performance.now() + POLL_AFTER_MS;
    this.timer = setTimeout(() => this.poll(), performance.now() < this.often ? POLL_RUNNING_MS : POLL_IDLE_MS);
  }

  /* null for what this server does not tell. */
  async get(path, kind) {
    try {
      return await (await request(path, { signal: AbortSignal.timeout(10000) }))[kind]();
    } catch {
      return null;
    }
  }

  get contextMax() {
    return this.model?.context_length || this.slots[0]?.n_ctx || this.model?.kv?.tokens_max || 0;
  }

  showModel() {
    const name = this.model?.name, wanted = this.wanted();
    byId('model-name').textContent = byId('bar-model').textContent =
      name && wanted && wanted !== name ? `${wanted} (${name} is loaded)` : name ?? 'no model loaded';
    const details = this.model?.details ?? {};
    byId('model-facts').textContent = [details.parameter_size, details.quantization_level,
      this.contextMax && `${count(this.contextMax)} tokens of context`,
      this.model?.kv && `keys and values in ${typesOf(this.model.kv)}`].filter(Boolean).join(' · ');
  }

  showCache() {
    const kv = this.model?.kv;
    byId('cache').hidden = !kv;
    if (!kv) return;
    byId('cache-types').textContent = typesOf(kv);
    const full = kv.bytes_f16 > 0 && kv.bytes > 0;
    this.cache.show(full ? [{ share: Math.min(1, kv.bytes / kv.bytes_f16), kind: 'held' }] : []);
    const [number, unit] = bytes(full ? kv.bytes : 0).split(' ');
    byId('cache-held').textContent = number;
    byId('cache-ratio').textContent = full ? `${unit} · ${rate(kv.bytes_f16 / kv.bytes)}× smaller` : unit;
    byId('cache-f16').textContent = full ? bytes(kv.bytes_f16) : '–';
    byId('cache-tokens').textContent = `${count(kv.tokens_used ?? 0)}${kv.tokens_max ? ` of ${count(kv.tokens_max)}` : ''}`;
    byId('cache-reserved').textContent = bytes(kv.bytes_reserved ?? 0);
  }

  showRequests(metrics) {
    const busy = this.slots.filter((s) => s.is_processing).length;
    const running = metric(metrics, 'llamacpp:requests_processing') ?? (this.slots.length ? busy : null);
    const waiting = metric(metrics, 'llamacpp:requests_deferred');
    byId('requests').hidden = running === null;
    byId('running').textContent = running === null ? '' : count(running);
    byId('waiting').textContent = waiting === null ? '–' : count(waiting);
    byId('slots').replaceChildren(...this.slots.slice(0, 64).map((s) => el('i', {
      class: !s.is_processing ? '' : s.n_prompt_tokens_processed < s.n_prompt_tokens ? 'reading' : 'busy',
    })));
  }

  // ---- from the conversation ----

  /* message: the last answer of the conversation shown, or null. */
  show(message) {
    if (message !== this.message) {
      this.speeds = [];
      byId('speed-line').toggleAttribute('hidden', true);
    }
    this.message = message;
    this.showContext();
    this.showSpeed();
  }

  /* An answer began; message is written into as it comes. */
  start(message) {
    this.runs.set(message, { pieces: [], progress: null });
    this.show(message);
    this.poll();
  }

  read(message, progress) {
    this.runs.get(message).progress = progress;
    if (message === this.message) this.showSpeed();
  }

  piece(message) {
    this.runs.get(message).pieces.push(performance.now());
  }

  /* The answer has ended. */
  end(message) {
    this.runs.delete(message);
    if (message === this.message) this.show(message);
    this.poll();
  }

  /* The run of the message that is shown; undefined if it has ended. */
  get run() {
    return this.message ? this.runs.get(this.message) : undefined;
  }

  showContext() {
    const usage = this.message?.usage;
    const run = this.run;
    const answered = usage?.completion_tokens ?? run?.pieces.length ?? 0;
    const prompt = usage?.prompt_tokens ?? run?.progress?.total ?? 0;
    const cached = this.message?.timings?.cache_n ?? usage?.prompt_tokens_details?.cached_tokens ??
      run?.progress?.cache ?? 0;
    const max = this.contextMax;
    const used = prompt + answered;
    const share = (n) => (max ? n / max : 0);
    this.context.show([{ share: share(cached), kind: 'cached' }, { share: share(prompt - cached), kind: 'prompt' },
      { share: share(answered), kind: 'answer' }]);
    byId('context-used').textContent = `${usage || !used ? '' : '≈ '}${count(used)}`;
    byId('context-max').textContent = max ? ` of ${plural(max, 'token')}` : used === 1 ? ' token' : ' tokens';
    byId('context-cached').textContent = count(cached);
    byId('context-prompt').textContent = count(Math.max(0, prompt - cached));
    byId('context-answer').textContent = count(answered);
    byId('prefix').textContent = prompt ? `${Math.round(cached / prompt * 100)} % of the prompt from the cache` : '';
    byId('strip-context').textContent = max && used ? `${Math.max(1, Math.round(share(used) * 100))} %` : '0 %';
  }

  /* Pieces a second in the last two: a piece is a token, as a rule. */
  get estimate() {
    const now = performance.now();
    const recent = this.run.pieces.filter((t) => t >= now - 2000);
    return recent.length < 2 ? 0 : (recent.length - 1) / Math.max(50, now - recent[0]) * 1000;
  }

  sample() {
    if (!this.run) return;
    if (this.run.pieces.length > 1) {
      this.speeds.push(this.estimate);
      if (this.speeds.length > SAMPLES) this.speeds.shift();
      const top = Math.max(...this.speeds) * 1.15 || 1;
      byId('speed-line').toggleAttribute('hidden', this.speeds.length < 2);
      const steps = Math.max(SAMPLES_WIDE, this.speeds.length) - 1;
      this.line.setAttribute('points', this.speeds.map((s, i) =>
        `${(i * 200 / steps).toFixed(1)},${(38 - s / top * 36).toFixed(1)}`).join(' '));
    }
    this.showSpeed();
    this.showContext();
  }

  showSpeed() {
    const t = this.message?.timings;
    const p = this.run?.progress;
    let read = t?.prompt_ms > 0 && t.prompt_n > 0 ? rate(t.prompt_n / t.prompt_ms * 1000) : '–';
    if (!t && p?.time_ms > 0) read = `≈ ${rate((p.processed - (p.cache ?? 0)) / p.time_ms * 1000)}`;
    let write = t?.predicted_ms > 0 && t.predicted_n > 0 ? rate(t.predicted_n / t.predicted_ms * 1000) : '–';
    if (!t && this.run && this.estimate) write = `≈ ${rate(this.estimate)}`;
    byId('speed-read').textContent = read;
    byId('speed-write').textContent = write;
    byId('strip-speed').textContent = write === '–' ? '' : ` · ${write} tokens/s`;
  }
}
