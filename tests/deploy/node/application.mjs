// An application in Node that knows of no gateway: what it asks, and what it gets, as JSON on standard output.
//
//   node application.mjs <sdk-0 | sdk-1> <base URL> <model>
//
// Each part is told apart from the others and catches nothing: an error that the application did not expect ends it.
// What is printed of an answer is its shape, so that two models can be compared; words differ between them.

import process from 'node:process';

const [sdk, baseURL, model] = process.argv.slice(2);
const { default: Anthropic, BadRequestError, NotFoundError } = await import(sdk);
const { betaTool } = await import(`${sdk}/helpers/beta/json-schema`);

const client = new Anthropic({ baseURL, apiKey: 'sk-test', maxRetries: 0 });

const RIVERS = [{ role: 'user', content: 'Say something about rivers.' }];
const WEATHER = [{ role: 'user', content: 'Use the weather tool for Oslo.' }];
const TOOLS = ['weather', 'tides'].map((name) => ({
  name,
  description: `The ${name} of a place.`,
  input_schema: { type: 'object', properties: { place: { type: 'string' } }, required: ['place'] },
}));
const THINKING = { thinking: { type: 'enabled', budget_tokens: 2000 } };
// The API version that sdk-1 asks for knows no sampling, and there the upstream can hold a conversation.
const SAMPLING = sdk === 'sdk-0' ? { temperature: 0.3 } : {};
const WHOLE = sdk === 'sdk-0' ? {} : { thread: false };

/** What arrived from the gateway beside the answer. */
function served(response) {
  const header = (name) => response.headers.get(`x-gateway-${name}`);
  return { arm: header('arm'), model: header('served-model'), fallback: header('fallback'), rewrites: header('rewrites') };
}

/** A message without its words. */
function shape(message) {
  return {
    keys: Object.keys(message).filter((key) => !key.startsWith('_')).sort(),
    type: message.type,
    role: message.role,
    blocks: message.content.map((block) => block.type),
    stop: message.stop_reason,
    usage: Object.keys(message.usage).sort(),
    counted: message.usage.input_tokens > 0 && message.usage.output_tokens > 0,
  };
}

const text = (message) => message.content.map((block) => (block.type === 'text' ? block.text : '')).join('');

/** Let the SDK's tool runner work until it is done. */
async function run(more) {
  const places = [];
  const weather = betaTool({
    name: 'weather',
    description: 'The weather of a place.',
    inputSchema: { type: 'object', properties: { place: { type: 'string' } }, required: ['place'] },
    run: ({ place }) => {
      places.push(place);
      return '-3 degrees';
    },
  });
  const asked = { model, max_tokens: 4000, messages: WEATHER, tools: [weather], ...more };
  const final = await client.beta.messages.toolRunner(asked);
  return { called: places.length > 0, spoken: final.model, stop: final.stop_reason };
}

/** The names of events in their order, each run of one name once. */
const outline = (events) => events.filter((name, index) => name !== events[index - 1]);

const parts = {
  async message() {
    const { data, response, request_id } = await client.messages
      .create({ model, max_tokens: 2000, messages: RIVERS, metadata: { user_id: 'customer-4711' }, ...SAMPLING })
      .withResponse();
    return { ...served(response), shape: shape(data), spoken: data.model, text: text(data) !== '', id: request_id !== null };
  },

  async stream() {
    const events = [];
    const stream = client.messages.stream({ model, max_tokens: 8000, messages: RIVERS, ...THINKING });
    stream.on('streamEvent', (event) => events.push(event));
    let heard = '';
    stream.on('text', (delta) => (heard += delta));
    const { response } = await stream.withResponse();
    const final = await stream.finalMessage();
    const indices = events.filter((event) => event.type === 'content_block_start').map((event) => event.index);
    return {
      ...served(response),
      shape: shape(final),
      spoken: final.model,
      outline: outline(events.map((event) => event.delta?.type ?? event.type).filter((name) => name !== 'ping')),
      indices,
      agrees: heard === text(final) && heard !== '',
      signed: final.content.every((block) => block.type !== 'thinking' || block.signature !== ''),
    };
  },

  async tools() {
    const messages = [...WEATHER];
    const turns = [];
    const seen = [];
    for (let turn = 0; turn < 6; turn += 1) {
      const stream = client.messages.stream({ model, max_tokens: 8000, messages, tools: TOOLS, ...THINKING });
      const { response } = await stream.withResponse();
      const answer = await stream.finalMessage();
      turns.push(shape(answer));
      seen.push(served(response));
      const calls = answer.content.filter((block) => block.type === 'tool_use');
      if (calls.length === 0) break;
      messages.push({ role: 'assistant', content: answer.content });
      messages.push({
        role: 'user',
        content: calls.map((call) => ({ type: 'tool_result', tool_use_id: call.id, content: `${call.input.place}: -3` })),
      });
    }
    return { seen, turns };
  },

  async conversation() {
    const messages = [];
    const seen = [];
    for (const question of ['Say something about rivers.', 'And about lakes?', 'And about seas?']) {
      messages.push({ role: 'user', content: question });
      const { data, response } = await client.messages.create({ model, max_tokens: 4000, messages, ...THINKING }).withResponse();
      messages.push({ role: 'assistant', content: data.content });
      seen.push({ ...served(response), stop: data.stop_reason });
    }
    return { seen };
  },

  runner: () => run(WHOLE),

  // The tool runner as it is by default: from 1.0 on the upstream holds the conversation.
  held: () => run({}),

  async counted() {
    const { data, response } = await client.messages.countTokens({ model, messages: RIVERS, tools: TOOLS }).withResponse();
    return { ...served(response), keys: Object.keys(data).sort(), some: data.input_tokens > 0 };
  },

  async prefill() {
    const messages = [...RIVERS, { role: 'assistant', content: '{' }];
    const asked = { model, max_tokens: 2000, messages, system: 'Only JSON.' };
    const { data, response } = await client.messages.create(asked).withResponse();
    const streamed = await client.messages.stream(asked).finalMessage();
    return {
      ...served(response),
      shape: shape(data),
      // The answer goes on after the prefill and does not say it again; parsing throws where it is no JSON.
      whole: [data, streamed].every((answer) => JSON.parse(`{${text(answer)}`) !== null),
      streamed: shape(streamed).blocks,
    };
  },

  async errors() {
    const caught = async (asked, kind) => {
      try {
        await client.messages.create({ max_tokens: 500, messages: RIVERS, ...asked });
      } catch (error) {
        return { kind: error instanceof kind, status: error.status, type: error.error?.error?.type, id: Boolean(error.requestID) };
      }
      return null;
    };
    return {
      field: await caught({ model, from_2031: 1 }, BadRequestError),
      model: await caught({ model: 'claude-nobody' }, NotFoundError),
    };
  },

  async models() {
    const ids = [];
    for await (const each of client.models.list({ limit: 5 })) ids.push(each.id);
    return { several: ids.length > 5, asked: ids.includes(model) };
  },
};

const results = { node: process.versions.node };
for (const [name, part] of Object.entries(parts)) results[name] = await part();
process.stdout.write(JSON.stringify(results));
