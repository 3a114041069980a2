// anthropic.mjs URL MODEL - the server through Anthropic's own JavaScript client, as TAP.
import assert from 'node:assert/strict';
import { collect, model, require, runAll, test, thrown, url } from './tap.mjs';
import { CALL, GREETING, LONG, SUNNY, user, WEATHER } from './texts.mjs';

const Anthropic = require('@anthropic-ai/sdk').default;
const client = new Anthropic({ baseURL: url, apiKey: 'none', maxRetries: 0, timeout: 20000 });
const tools = [{ name: WEATHER.name, description: WEATHER.description, input_schema: WEATHER.parameters }];
const asked = (content, more) => ({ model, messages: user(content), max_tokens: 2000, ...more });
const ask = (content, more) => client.messages.create(asked(content, more));

test('answer', async () => {
  const a = await ask('Say hello.');
  assert.equal(a.content[0].text, GREETING);
  assert.equal(a.stop_reason, 'end_turn');
  assert.ok(a.usage.output_tokens > 0);
});

test('stream', async () => {
  const events = await collect(await ask('Say hello.', { stream: true }));
  assert.equal(events[0].type, 'message_start');
  assert.equal(events.at(-1).type, 'message_stop');
});

test('stream helper', async () => {
  const stream = client.messages.stream(asked('Say hello.'));
  let text = '';
  stream.on('text', (delta) => (text += delta));
  const final = await stream.finalMessage();
  assert.equal(text, GREETING);
  assert.equal(final.content[0].text, GREETING);
});

test('thinking', async () => {
  const stream = client.messages.stream(asked('Think about it.', { thinking: { type: 'enabled', budget_tokens: 1024 } }));
  const final = await stream.finalMessage();
  assert.deepEqual(final.content.map((c) => c.type), ['thinking', 'text']);
  assert.equal(final.content[0].thinking.trim(), 'Two and two.');
});

test('call and round trip', async () => {
  for (const first of [
    await ask('What is the weather in Paris?', { tools }),
    await client.messages.stream(asked('What is the weather in Paris?', { tools })).finalMessage(),
  ]) {
    assert.equal(first.stop_reason, 'tool_use');
    const [use] = first.content;
    assert.deepEqual([use.type, use.name, use.input], ['tool_use', 'get_weather', CALL]);
    const second = await client.messages.create({
      model,
      tools,
      max_tokens: 100,
      messages: [
        ...user('What is the weather in Paris?'),
        { role: 'assistant', content: first.content },
        { role: 'user', content: [{ type: 'tool_result', tool_use_id: use.id, content: 'sunny-22' }] },
      ],
    });
    assert.equal(second.content[0].text, SUNNY);
  }
});

test('count of tokens', async () => {
  const messages = user('Say hello.');
  const n = (await client.messages.countTokens({ model, messages })).input_tokens;
  assert.ok(n > 0);
  assert.ok((await client.messages.countTokens({ model, messages, tools })).input_tokens > n);
});

test('models', async () => {
  assert.ok((await collect(client.models.list())).some((m) => m.id === model));
});

test('errors', async () => {
  const long = await thrown(() => ask(LONG));
  assert.ok(long instanceof Anthropic.BadRequestError);
  assert.match(long.error.error.message, /^prompt is too long: \d+ tokens > \d+ maximum/);
  const none = await thrown(() => ask('x', { model: 'nobody' }));
  assert.ok(none instanceof Anthropic.NotFoundError);
  const bad = await thrown(() => ask('x', { max_tokens: -1 }));
  assert.ok(bad instanceof Anthropic.BadRequestError);
});

await runAll();
