// What a program in Node sees of the server through Ollama's own package, as one JSON object.
// Its arguments: the folder in which the package is installed, and the server's address.

import { createRequire } from "node:module";

const [folder, host] = process.argv.slice(2);
const { Ollama } = createRequire(`${folder}/`)("ollama");
const client = new Ollama({ host });
const hi = {
  model: "auto",
  messages: [{ role: "user", content: "Hi" }],
  options: { num_predict: 8, seed: 1 },
};

const whole = await client.chat(hi);

let streamed = "";
let last = null;
for await (const part of await client.chat({ ...hi, stream: true })) {
  streamed += part.message.content;
  last = part;
}

const filled = await client.generate({ model: "tiny", prompt: "a = ", suffix: "\n", options: hi.options });

const failure = await client
  .chat({ ...hi, model: "nobody" })
  .then(() => null, (error) => ({ message: error.message, status: error.status_code }));

const leaving = await client.chat({ ...hi, options: { num_predict: 500 }, stream: true });
leaving.abort();

console.log(
  JSON.stringify({
    names: (await client.list()).models.map((model) => model.name),
    capabilities: (await client.show({ model: "tiny" })).capabilities,
    model: whole.model,
    text: whole.message.content,
    streamed,
    reason: last.done_reason,
    filled: filled.eval_count,
    failure,
  }),
);
