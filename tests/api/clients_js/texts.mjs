// texts.mjs - what the scripted server answers (tests/api/clients_helper.py).
export const GREETING = 'Hello there, my friend! Grüße, 世界.';
export const SUNNY = 'It is sunny in Paris.';
export const PERSON = { name: 'Ada', age: 36 };
export const CALL = { city: 'Paris', days: 2 };
export const LONG = 'word '.repeat(200000);
export const WEATHER = {
  name: 'get_weather',
  description: 'The weather in a city.',
  parameters: {
    type: 'object',
    required: ['city'],
    additionalProperties: false,
    properties: { city: { type: 'string' }, days: { type: 'integer' } },
  },
};
export const SCHEMA = {
  type: 'object',
  required: ['name', 'age'],
  additionalProperties: false,
  properties: { name: { type: 'string' }, age: { type: 'integer' } },
};
export const user = (content) => [{ role: 'user', content }];
