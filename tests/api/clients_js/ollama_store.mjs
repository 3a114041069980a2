// ollama_store.mjs URL MODEL - what Ollama's JavaScript client does with a store, as TAP.
// MODEL is in it; the registry of the server has a model x.
import assert from 'node:assert/strict';
import { collect, model, require, runAll, test, thrown, url } from './tap.mjs';

const { Ollama } = require('ollama');
const client = new Ollama({ host: url });

test('create', async () => {
  const parts = await collect(
    await client.create({ model: 'js', from: model, system: 'Hello.', parameters: { top_k: 7, stop: ['x'] }, stream: true }),
  );
  assert.deepEqual(parts.at(-1), { status: 'success' });
  assert.ok(parts.length > 2);
  assert.equal((await client.create({ model: 'js', from: model, license: ['a', 'b'] })).status, 'success');
});

test('create refuses', async () => {
  const e = await thrown(() => client.create({ model: 'bad', from: 'nobody' }));
  assert.equal(e.status_code, 404);
  assert.match(e.message, /model 'nobody:latest' is not at/);
  assert.match((await thrown(() => client.create({ model: 'bad', from: model, quantize: 'q4_0' }))).message, /quantize/);
});

test('copy and delete', async () => {
  assert.equal((await client.copy({ source: 'js', destination: 'js2' })).status, 'success');
  assert.equal((await client.delete({ model: 'js2' })).status, 'success');
  assert.equal((await thrown(() => client.delete({ model: 'js2' }))).status_code, 404);
  assert.equal((await thrown(() => client.copy({ source: 'js2', destination: 'y' }))).status_code, 404);
});

test('pull', async () => {
  const parts = await collect(await client.pull({ model: 'x', stream: true }));
  assert.equal(parts[0].status, 'pulling manifest');
  assert.deepEqual(parts.at(-1), { status: 'success' });
  const sizes = parts.filter((p) => p.digest);
  assert.ok(sizes.every((p) => p.total > 0 && (p.completed ?? 0) <= p.total));
  assert.equal((await client.pull({ model: 'x' })).status, 'success');
  assert.equal((await thrown(() => client.pull({ model: 'nobody' }))).status_code, 404);
});

test('abort', async () => {
  const stream = await client.pull({ model: 'slow', stream: true });
  const e = await thrown(async () => {
    for await (const part of stream) if (part.completed > 0 && part.total > 1000) stream.abort();
  });
  assert.equal(e.name, 'AbortError');
});

test('push', async () => {
  assert.match((await thrown(() => client.push({ model: 'js' }))).message, /not supported/);
});

await runAll();
