// Runs a model once with ONNX Runtime alone: `{ model, feeds: { name: { shape, data } } }` on stdin, `{ name: data }` on stdout.
// A process of its own, because jest's typed arrays are not those that the native module knows.
const { readFileSync } = require('node:fs');
const ort = require('onnxruntime-node');

async function main() {
  const { model, feeds } = JSON.parse(readFileSync(0, 'utf8'));
  const session = await ort.InferenceSession.create(model);
  const tensors = Object.entries(feeds).map(([name, { shape, data }]) => [name, new ort.Tensor('float32', Float32Array.from(data), shape)]);
  const outputs = await session.run(Object.fromEntries(tensors));
  console.log(JSON.stringify(Object.fromEntries(Object.entries(outputs).map(([name, { data }]) => [name, [...data]]))));
}

void main();
