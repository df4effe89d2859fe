// Next-token probabilities from llama.cpp (npm node-llama-cpp), as JSON.
//
// usage: node llama_cpp_probabilities.mjs MODEL.gguf [--lora ADAPTER.gguf] < ids.json
// ids.json: a list of token-id lists. Output: for each list, the probability
// of each id after its prefix, from the second id on.
// EDGETUNE_NODE_MODULES names the folder that holds node-llama-cpp.
import {readFileSync} from "node:fs";
import {join} from "node:path";
import {pathToFileURL} from "node:url";

const entry = join(process.env.EDGETUNE_NODE_MODULES, "node-llama-cpp", "dist", "index.js");
const {getLlama} = await import(pathToFileURL(entry));

const [modelPath, flag, adapterPath] = process.argv.slice(2);
const sequences = JSON.parse(readFileSync(0, "utf8"));

const llama = await getLlama({build: "never", skipDownload: true, gpu: false, logLevel: "error",
                              maxThreads: 1});
const model = await llama.loadModel({modelPath});
// Oracles run beside other tests: threads that wait for each other would spin.
const context = await model.createContext({
    contextSize: 512,
    threads: 1,
    ...(flag === "--lora" ? {lora: {adapters: [{filePath: adapterPath, scale: 1}]}} : {}),
});
const sequence = context.getSequence();

const results = [];
for (const ids of sequences) {
    await sequence.clearHistory();
    const asked = ids.slice(0, -1).map((id) => [id, {generateNext: {probabilities: true, options: {temperature: 0}}}]);
    const answers = await sequence.controlledEvaluate(asked);
    results.push(answers.map((answer, i) => answer.next.probabilities.get(ids[i + 1]) ?? 0));
}
console.log(JSON.stringify(results));
await llama.dispose();
