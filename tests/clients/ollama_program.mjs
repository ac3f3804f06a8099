// Has ollama's JavaScript client ask two servers, and prints what it makes of their answers as JSON. Standard input says
// where the package is, which servers, and what to ask.
import { pathToFileURL } from "node:url";

let asked = "";
for await (const piece of process.stdin) asked += piece;
const { library, real, told, question, city, asks, weather } = JSON.parse(asked);
const { Ollama } = await import(pathToFileURL(library).href);
const smol = new Ollama({ host: real });
const clever = new Ollama({ host: told });
const few = { num_predict: 8 };
const all = async (stream) => {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
};
const ask = (content) => [{ role: "user", content }];
const failed = async (work) => work.then(() => null, (error) => ({ name: error.name, message: error.message }));

const answers = {
  list: await smol.list(),
  show: await smol.show({ model: "smol" }),
  version: await smol.version(),
  chat: await smol.chat({ model: "smol", messages: ask(question), options: few }),
  streamed: await all(await smol.chat({ model: "smol", messages: ask(question), options: few, stream: true })),
  generate: await smol.generate({ model: "smol", prompt: question, options: few }),
  json: await smol.chat({ model: "smol", messages: ask(question), options: { num_predict: 100 }, format: city }),
  ps: await smol.ps(),
  calls: await clever.chat({ model: "clever", messages: ask(asks), tools: [weather] }),
  streamedCalls: await all(await clever.chat({ model: "clever", messages: ask(asks), tools: [weather], stream: true })),
  embed: await clever.embed({ model: "embed", input: ["one", "two"] }),
  embeddings: await clever.embeddings({ model: "embed", prompt: "one" }),
  missing: await failed(smol.chat({ model: "nope", messages: ask(question) })),
};
const leaving = await smol.chat({ model: "smol", messages: ask("Count to a thousand."), stream: true });
answers.aborted = await failed((async () => {
  for await (const _ of leaving) leaving.abort();
})());
process.stdout.write(JSON.stringify(answers));
