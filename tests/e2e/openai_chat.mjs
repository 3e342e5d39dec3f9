// What a program in Node sees of the server through OpenAI's own package, as one JSON object.
// Its arguments: the folder in which the package is installed, and the server's address.

import { createRequire } from "node:module";

const [folder, url] = process.argv.slice(2);
const { OpenAI } = createRequire(`${folder}/`)("openai");
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "any", maxRetries: 0 });
const hi = { model: "auto", messages: [{ role: "user", content: "Hi" }], max_tokens: 8, seed: 1 };
const tool = {
  type: "function",
  function: {
    name: "weather",
    parameters: {
      type: "object",
      properties: { city: { enum: ["Paris"] } },
      required: ["city"],
      additionalProperties: false,
    },
  },
};

const whole = await client.chat.completions.create(hi);

let streamed = "";
for await (const chunk of await client.chat.completions.create({ ...hi, stream: true })) {
  streamed += chunk.choices[0]?.delta?.content ?? "";
}

const calling = { ...hi, max_tokens: 100, tools: [tool], tool_choice: "required" };
const called = await client.chat.completions.stream(calling).finalChatCompletion();

const failure = await client.chat.completions
  .create({ ...hi, model: "nobody" })
  .then(() => null, (error) => ({ kind: error.constructor.name, status: error.status }));

const leaving = await client.chat.completions.create({ ...hi, stream: true });
leaving.controller.abort();

console.log(
  JSON.stringify({
    model: whole.model,
    text: whole.choices[0].message.content,
    streamed,
    finish: called.choices[0].finish_reason,
    call: called.choices[0].message.tool_calls[0].function,
    failure,
  }),
);
