// ollama.mjs URL MODEL - the server through Ollama's own JavaScript client, as TAP.
import assert from 'node:assert/strict';
import { collect, model, require, runAll, test, thrown, url } from './tap.mjs';
import { CALL, GREETING, PERSON, SCHEMA, SUNNY, user, WEATHER } from './texts.mjs';

const { Ollama } = require('ollama');
const client = new Ollama({ host: url });
const tools = [{ type: 'function', function: WEATHER }];
const ask = (content, more) => client.chat({ model, messages: user(content), ...more });

test('chat', async () => {
  const a = await ask('Say hello.');
  assert.equal(a.message.content, GREETING);
  assert.equal(a.done_reason, 'stop');
  assert.ok(a.eval_count > 0 && a.prompt_eval_count > 0);
});

test('stream', async () => {
  const parts = await collect(await ask('Say hello.', { stream: true }));
  assert.equal(parts.map((p) => p.message.content ?? '').join(''), GREETING);
  assert.ok(parts.at(-1).done);
});

test('thinking', async () => {
  const a = await ask('Think about it.', { think: true });
  assert.equal(a.message.thinking.trim(), 'Two and two.');
  assert.equal(a.message.content, 'Four.');
});

test('format', async () => {
  assert.deepEqual(JSON.parse((await ask('Describe Ada.', { format: SCHEMA })).message.content), PERSON);
});

test('call and round trip', async () => {
  const first = (await ask('What is the weather in Paris?', { tools })).message;
  assert.equal(first.tool_calls[0].function.name, 'get_weather');
  assert.deepEqual(first.tool_calls[0].function.arguments, CALL);
  const second = await client.chat({
    model,
    tools,
    messages: [
      ...user('What is the weather in Paris?'),
      first,
      { role: 'tool', tool_name: 'get_weather', content: 'sunny-22' },
    ],
  });
  assert.equal(second.message.content, SUNNY);
});

test('generate', async () => {
  assert.equal((await client.generate({ model, prompt: 'Say hello.' })).response, GREETING);
  const parts = await collect(await client.generate({ model, prompt: 'Say hello.', stream: true }));
  assert.equal(parts.map((p) => p.response).join(''), GREETING);
});

test('embed', async () => {
  const a = await client.embed({ model, input: ['Say hello', 'other'] });
  assert.equal(a.embeddings.length, 2);
});

test('list, show, ps, version', async () => {
  assert.ok((await client.list()).models.some((m) => m.name.startsWith(model)));
  assert.ok((await client.show({ model })).model_info['general.architecture']);
  assert.ok((await client.ps()).models.some((m) => m.name.startsWith(model)));
  assert.ok((await client.version()).version);
});

test('errors', async () => {
  const none = await thrown(() => ask('x', { model: 'nobody' }));
  assert.equal(none.status_code, 404);
  assert.match(none.message, /not found/);
  const bad = await thrown(() => ask('x', { options: { num_predict: 'many' } }));
  assert.equal(bad.status_code, 400);
});

test('abort', async () => {
  const stream = await ask('Speak slowly.', { stream: true });
  const error = await thrown(async () => {
    for await (const _ of stream) stream.abort();
  });
  assert.equal(error.name, 'AbortError');
  assert.equal((await ask('Say hello.')).message.content, GREETING);
});

await runAll();
