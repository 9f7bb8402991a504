// The model: a WebAssembly module that the page carries within itself, as base64.

const bytesOf = (base64) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));

/// Loads the module; the result asks it, one request object in, its answer's text out.
export async function load(base64) {
  const { instance } = await WebAssembly.instantiate(bytesOf(base64), {});
  const model = instance.exports;
  return (request) => {
    const asked = new TextEncoder().encode(JSON.stringify(request));
    // Every call may move the memory: its buffer is asked for only after it.
    const input = model.input(asked.length);
    new Uint8Array(model.memory.buffer, input, asked.length).set(asked);
    const length = model.answer();
    const output = model.output();
    return new TextDecoder().decode(new Uint8Array(model.memory.buffer, output, length));
  };
}

/// The same, parsed; what the model refuses is thrown as a sentence.
export function parsed(ask, request) {
  const answer = JSON.parse(ask(request));
  if (answer.error) throw new Error(answer.error);
  return answer;
}
